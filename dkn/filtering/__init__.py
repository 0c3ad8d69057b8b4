"""Beyond depth: the same networks as joint filters of any picture (section 3.2 and 4.1 of the paper's supplement).

filter.py   a target of any number of channels, guided by another picture, in tiles
noise.py    training on noisy depth, and RMSE beside the guided filter
saliency.py upsampling of saliency maps, judged by the weighted F-measure (foreground.py)
scenes.py   pictures rendered by code to try them on
"""
