"""Semantic segmentation with sharp borders (section 4.2 of the paper's supplement).

layer.py      FDKNLayer: upsamples a network's class scores under the guidance of the image; trained with it
scores.py     mean IoU and boundary IoU
comparison.py `dkn segment`: a small network on rendered scenes, with bilinear upsampling, guided filter and the layer
"""
