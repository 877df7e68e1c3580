"""The built-in data sets: labelled street scenes that the project paints itself.

`data_set` is the data set, `coarse_set` another one, of other scenes with labels as of
`coarse_label`. `painter.paint` composes a scene, and every other file here paints one kind of thing
on a `Canvas` through a `Camera` in the `Light` of that scene.
"""
