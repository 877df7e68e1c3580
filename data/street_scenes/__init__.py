"""The built-in data set: labelled street scenes that the project paints itself.

`data_set` is the data set; `painter.paint` composes a scene, and every other file here paints one
kind of thing on a `Canvas` through a `Camera` in the `Light` of that scene.
"""
