"""Exports DeepLab v3 from torchvision's definition, with random weights of a fixed seed, and what PyTorch makes of an
input at every layer, computed in float64 and rounded to float32:

    pip install torch torchvision safetensors && python3 export.py slim            # slim*.safetensors, committed
    python3 export.py full OUTPUT [PICTURE]                                        # full*.safetensors, some 500 MB

"full" is torchvision.models.segmentation.deeplabv3_resnet50. "slim" is the same modules with a twelfth of the channels,
one block a stage (two in the last, so that both of its dilations are there) and rates 2, 4 and 6; its weights are stored
as bfloat16, which both sides compute with. Batch normalizations get the moments that the input has under these weights,
a little off, so that no layer's values vanish.
"""
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.models.segmentation import deeplabv3_resnet50
from torchvision.models.segmentation.deeplabv3 import ASPP, DeepLabV3


class Slim(ResNet):
    """torchvision's ResNet of bottlenecks, its planes 2, 4, 8 and 16."""

    def __init__(self):
        nn.Module.__init__(self)
        self._norm_layer, self.inplanes, self.dilation, self.groups, self.base_width = nn.BatchNorm2d, 6, 1, 1, 64
        self.conv1 = nn.Conv2d(3, 6, 7, stride=2, padding=3, bias=False)
        self.bn1, self.relu, self.maxpool = nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = self._make_layer(Bottleneck, 2, 1)
        self.layer2 = self._make_layer(Bottleneck, 4, 1, stride=2)
        self.layer3 = self._make_layer(Bottleneck, 8, 1, stride=2, dilate=True)
        self.layer4 = self._make_layer(Bottleneck, 16, 2, stride=2, dilate=True)


def slim():
    backbone = IntermediateLayerGetter(Slim(), return_layers={"layer4": "out"})
    head = nn.Sequential(ASPP(64, [2, 4, 6], 12), nn.Conv2d(12, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 5, 1))
    return DeepLabV3(backbone, head)


def record(model, x):
    """Runs the model and returns every layer's output under the name of the module that makes it."""
    out, hooks = {}, []

    def keep(name, change=lambda y: y):
        def hook(_, __, y):
            out[name] = change(y).detach().clone().contiguous()
        return hook

    for name, m in model.named_modules():
        if isinstance(m, Bottleneck):
            for i in "12":  # with the activation behind
                hooks.append(getattr(m, "bn" + i).register_forward_hook(keep(f"{name}.conv{i}", torch.relu)))
            hooks.append(m.bn3.register_forward_hook(keep(f"{name}.conv3")))
            hooks.append(m.register_forward_hook(keep(name)))
            if m.downsample is not None:
                hooks.append(m.downsample.register_forward_hook(keep(f"{name}.downsample")))
    backbone, head = model.backbone, model.classifier
    aspp = head[0]
    hooks += [backbone.bn1.register_forward_hook(keep("backbone.conv1", torch.relu)), backbone.maxpool.register_forward_hook(keep("backbone.maxpool"))]
    for i, branch in enumerate(aspp.convs):
        hooks.append(branch.register_forward_hook(keep(f"classifier.0.convs.{i}")))
    pooling = aspp.convs[-1]
    hooks += [pooling[0].register_forward_hook(keep("classifier.0.pool")), pooling[-1].register_forward_hook(keep("classifier.0.pooled")),
              aspp.project.register_forward_hook(keep("classifier.0.project")), head[3].register_forward_hook(keep("classifier.1")),
              head[4].register_forward_hook(keep("classifier.4"))]
    with torch.no_grad():
        out["out"] = model(x)["out"].contiguous()
    out["input"] = x
    out["classifier.0.cat"] = torch.cat([out[f"classifier.0.convs.{i}"] for i in range(len(aspp.convs))], 1)
    for h in hooks:
        h.remove()
    return out


def calibrate(model, x):
    """Gives every batch normalization the moments of its input, one layer after the other, a little off."""
    def hook(m, args):
        y = args[0]
        m.running_mean.copy_(y.mean((0, 2, 3)) + 0.1 * torch.randn(len(m.running_mean)))
        m.running_var.copy_((y.var((0, 2, 3), unbiased=False) + 0.05) * (0.7 + 0.6 * torch.rand(len(m.running_var))))
        m.weight.copy_(0.7 + 0.6 * torch.rand(len(m.weight)))
        m.bias.copy_(0.3 * torch.randn(len(m.bias)))
    hooks = [m.register_forward_pre_hook(hook) for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        model(x)
    for h in hooks:
        h.remove()


def picture(path, size):
    if path is None:  # smooth noise, as photographs are
        y = torch.randn(1, 3, size[0] // 8 + 1, size[1] // 8 + 1)
        return nn.functional.interpolate(y, size=size, mode="bicubic") + 0.1 * torch.randn(1, 3, *size)
    from PIL import Image
    y = torch.from_numpy(np.asarray(Image.open(path).convert("RGB"), np.float32) / 255).permute(2, 0, 1)[None]
    return ((y - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)).contiguous()


def main(which, out, path=None):
    torch.manual_seed(11)
    model = slim() if which == "slim" else deeplabv3_resnet50(weights=None, weights_backbone=None, aux_loss=False)
    model.eval()
    x = picture(path, (41, 57) if which == "slim" else (256, 256))
    calibrate(model, x)
    if which == "slim":
        with torch.no_grad():
            for t in model.state_dict().values():
                if t.is_floating_point():
                    t.copy_(t.bfloat16())
    state = {k: v.bfloat16() if which == "slim" and v.is_floating_point() else v for k, v in model.state_dict().items() if "num_batches" not in k}
    rates = ",".join(str(m[0].dilation[0]) for m in list(model.classifier[0].convs)[1:-1])
    save_file({k: v.contiguous() for k, v in state.items()}, f"{out}/{which}.safetensors", metadata={"rates": rates, "format": "pt"})
    single = record(model, x)["out"]
    layers = record(model.double(), x.double())
    own = (single.double() - layers["out"]).abs().max().item()
    save_file({k: v.float() for k, v in layers.items()}, f"{out}/{which}_layers.safetensors", metadata={"float32": repr(own), "torch": torch.__version__})
    print(f"{which}: {len(state)} weights, {len(layers)} layers; the output is up to {layers['out'].abs().max():.3g}, in float32 off by up to {own:.3g}")


main(sys.argv[1], *(sys.argv[2:] or ["."]))
