"""The data of the cluster map: arrays in, the files of its folder out (ADR 033, 034)."""
