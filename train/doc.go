// Package train trains small networks: layers with gradients, optimizers and a
// loss, all on the engine's device, a Vulkan one or the CPU. It is no framework:
// just what a small network of a chain of layers needs.
//
// A [Net] is made for a fixed batch of images. [Net.Step] runs it forward and
// backward and moves the parameters; they stay on the device, and of a step only
// the losses and scores are fetched. The same steps on the same device give the same bits.
//
// Parameters have the names that PyTorch's state_dict gives them, "conv1.weight",
// "bn1.running_mean"; [Net.Save] and [Net.Load] keep them as .npz or .safetensors.
package train
