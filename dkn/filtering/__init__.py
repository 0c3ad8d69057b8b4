"""Beyond depth: the same networks as joint filters of any picture (sections 3.2 and 4.1 of the paper's supplement).

filter.py     a target of any number of channels, guided by another picture; tiles.py: in tiles without a seam
noise.py      noisy depth to train on; denoising.py: `dkn denoise`, RMSE beside the guided filter
saliency.py   `dkn saliency`: upsampling of saliency maps, judged by foreground.py, the weighted F-measure
gallery.py    `dkn gallery`: restoration and removal of texture, before and after
scenes.py     pictures rendered by code, with what is true about them; pictures.py: pictures in files
command.py    `dkn filter`
"""
