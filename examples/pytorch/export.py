"""Writes the network's weights by PyTorch's names, an input and PyTorch's answer."""
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.ops import DeformConv2d


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.predict = nn.Conv2d(8, 27, 3, padding=1)  # of each of 9 taps: an offset (y, x), and a mask
        self.deform = DeformConv2d(8, 16, 3, padding=1)
        self.head = nn.Conv2d(16, 4, 1)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        p = self.predict(x)
        x = torch.relu(self.deform(x, p[:, :18], torch.sigmoid(p[:, 18:])))
        return self.head(x)


torch.manual_seed(3)
net = Net().eval()
nn.init.normal_(net.predict.weight, std=0.2)  # offsets of a pixel or so, as after training
save_file(net.state_dict(), "weights.safetensors")
x = torch.randn(1, 3, 22, 30)
with torch.no_grad():
    y = net(x)
    exact = net.double()(x.double())
save_file({"x": x, "y": y, "exact": exact}, "answer.safetensors")
