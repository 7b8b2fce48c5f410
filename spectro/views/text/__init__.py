"""A text coloured by the susceptibilities of its tokens: plain arrays in, page or figure out."""
