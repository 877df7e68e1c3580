"""The painter of the built-in street scenes.

`painter.paint` composes a scene; every other file here paints one kind of thing on a `Canvas`
through a `Camera` in the `Light` of that scene.
"""
