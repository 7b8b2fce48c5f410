// A layer of discs and diamonds for deck.gl, one vertex each. ScatterplotLayer draws a square of four
// vertices per instance, which costs several times as much for millions of small points. The lowest
// bit of a point's opacity says its shape, 1 a diamond: it is not to be seen, and takes no memory.
const UNIFORMS = `\
layout(std140) uniform pointsUniforms {
  float radius;
  float least;
  float most;
} points;
`;

const VERTEX = `#version 300 es
in vec2 vertexPositions;
in vec4 vertexColors;
out vec4 colour;
out float reachPixels; // from the middle: of a disc its radius, of a diamond of equal area half its diagonal
flat out float isDiamond;

void main(void) {
  geometry.worldPosition = vec3(vertexPositions, 0.);
  int id = gl_VertexID + 1; // 0 is nothing
  geometry.pickingColor = vec3(id & 255, (id >> 8) & 255, (id >> 16) & 255);
  gl_Position = project_position_to_clipspace(geometry.worldPosition, vec3(0.), vec3(0.), geometry.position);
  DECKGL_FILTER_GL_POSITION(gl_Position, geometry);
  isDiamond = mod(floor(vertexColors.a * 255. + .5), 2.);
  reachPixels = clamp(points.radius * project.scale, points.least, points.most) * project.devicePixelRatio * mix(1., 1.2533, isDiamond);
  gl_PointSize = 2. * reachPixels + 1.; // and the soft edge
  colour = vec4(vertexColors.rgb, vertexColors.a * layer.opacity);
  DECKGL_FILTER_COLOR(colour, geometry);
}
`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec4 colour;
in float reachPixels;
flat in float isDiamond;
out vec4 fragColor;

void main(void) {
  vec2 at = abs(gl_PointCoord - .5) * (2. * reachPixels + 1.);
  float depth = isDiamond > .5 ? (reachPixels - at.x - at.y) * .7071 : reachPixels - length(at);
  float inside = clamp(depth + .5, 0., 1.);
  if (inside == 0.) discard;
  fragColor = vec4(colour.rgb, colour.a * inside);
  DECKGL_FILTER_COLOR(fragColor, geometry);
}
`;

const uniforms = { name: "points", vs: UNIFORMS, fs: "", source: "", uniformTypes: { radius: "f32", least: "f32", most: "f32" } };

// data: { length, attributes: { getPosition: 2 floats, getFillColor: 4 bytes } }; radius of discs in units of
// the drawing, between radiusMinPixels and radiusMaxPixels.
export function pointsLayer({ Layer, project32, color, picking }, { Model }) {
  return class PointsLayer extends Layer {
    static layerName = "PointsLayer";

    static defaultProps = {
      radius: 1, radiusMinPixels: 1, radiusMaxPixels: 8,
      getPosition: { type: "accessor", value: [0, 0] }, getFillColor: { type: "accessor", value: [0, 0, 0, 255] },
    };

    getShaders() {
      return super.getShaders({ vs: VERTEX, fs: FRAGMENT, modules: [project32, color, picking, uniforms] });
    }

    initializeState() {
      const manager = this.getAttributeManager();
      manager.remove(["instancePickingColors"]); // the number of the vertex says it
      manager.add({
        vertexPositions: { size: 2, accessor: "getPosition" },
        vertexColors: { size: 4, type: "unorm8", accessor: "getFillColor" },
      });
    }

    updateState(params) {
      super.updateState(params);
      if (!params.changeFlags.extensionsChanged) return;
      this.state.model?.destroy();
      this.state.model = new Model(this.context.device, { ...this.getShaders(), id: this.props.id, topology: "point-list",
        bufferLayout: this.getAttributeManager().getBufferLayouts({ isInstanced: false }), isInstanced: false });
      this.getAttributeManager().invalidateAll();
    }

    draw() {
      const { radius, radiusMinPixels: least, radiusMaxPixels: most, data } = this.props, { model } = this.state;
      model.setVertexCount(data.length);
      model.shaderInputs.setProps({ points: { radius, least, most } });
      model.draw(this.context.renderPass);
    }
  };
}
