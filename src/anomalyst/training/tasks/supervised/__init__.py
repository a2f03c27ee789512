"""Labelled pictures: ViT, DeiT, CvT, ResNet, VGG, AlexNet or LeNet-5, with a teacher or without."""
