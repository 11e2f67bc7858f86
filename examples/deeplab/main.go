// Command deeplab runs DeepLab v3 on a ResNet, as torchvision defines it, over a
// picture: on every Vulkan device there is and on the CPU, each timed, and held
// against PyTorch layer by layer.
//
//	go run ./examples/deeplab                            # a slim one whose weights are here, on a photograph
//	go run ./examples/deeplab -picture photo.jpg -o labels.png
//	go run ./examples/deeplab -weights full.safetensors -layers full_layers.safetensors
//
// testdata/export.py writes weights and layers; the weights are random, so what is
// painted are regions, not things.
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"image/color"
	"log"
	"slices"

	"vkconv"
	"vkconv/conv"
	"vkconv/tensorio"
)

//go:embed testdata/slim.safetensors
var slim []byte

func main() {
	log.SetFlags(0)
	weights := flag.String("weights", "", "take the weights from this `file` by testdata/export.py")
	layers := flag.String("layers", "", "compare every layer with this `file` of PyTorch's")
	picture := flag.String("picture", "", "segment this `file`; without it a photograph that is here")
	device := flag.String("device", "", "run on this `device` alone; without it on all")
	runs := flag.Int("runs", 5, "time this `number` of runs, behind one that warms up")
	out := flag.String("o", "", "paint the classes into this .png `file`")
	flag.Parse()
	if err := run(*weights, *layers, *picture, *device, *out, *runs); err != nil {
		log.Fatal("deeplab: ", err)
	}
}

func run(weights, layers, picture, device, out string, runs int) error {
	if runs < 1 {
		return fmt.Errorf("-runs is %d, must be at least 1", runs)
	}
	file, err := tensorio.NewSafetensors("slim.safetensors", slim)
	if weights != "" {
		file, err = tensorio.OpenSafetensors(weights)
	}
	if err != nil {
		return err
	}
	defer file.Close()
	scene, err := Picture(picture)
	if err != nil {
		return err
	}
	names, err := engines(device)
	if err != nil {
		return err
	}
	var labels []int
	for _, name := range names {
		e, err := vkconv.Open(vkconv.Options{Device: name})
		if err != nil {
			return err
		}
		got, err := on(e, file, layers, Normalize(scene), scene.Shape, runs)
		if err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
		if labels == nil {
			labels = got
		} else {
			fmt.Printf("  the same class as on the first device at %.3f %% of the pixels\n", agreement(got, labels))
		}
		if err := e.Close(); err != nil {
			return err
		}
	}
	if out == "" {
		return nil
	}
	return tensorio.WriteImage(out, paint(labels, scene.Shape))
}

// engines names the devices to run on.
func engines(device string) ([]string, error) {
	if device != "" {
		return []string{device}, nil
	}
	var names []string
	infos, err := vkconv.Devices()
	if err != nil {
		fmt.Printf("the CPU alone: %v\n", err)
	}
	for _, i := range infos {
		if i.Unusable == "" {
			names = append(names, fmt.Sprint(i.Index))
		}
	}
	return append(names, "cpu"), nil
}

// on runs the network on one device and returns the class of every pixel.
func on(e *vkconv.Engine, file *tensorio.Safetensors, layers string, x []float32, shape conv.Shape, runs int) ([]int, error) {
	ctx := context.Background()
	fmt.Printf("%s, %s\n", e.Name(), e.Driver())
	if layers != "" {
		if err := compare(ctx, e, file, layers); err != nil {
			return nil, err
		}
	}
	shape[1] = 3
	n, err := NewNetwork(e, file, shape)
	if err != nil {
		return nil, err
	}
	defer n.Close()
	if err := n.Upload(x); err != nil {
		return nil, err
	}
	var device, wall []float64
	for range 1 + runs {
		t, err := e.Time(ctx, func() error { return n.Run(ctx) })
		if err != nil {
			return nil, err
		}
		device, wall = append(device, t.Device.Seconds()*1e3), append(wall, t.Wall.Seconds()*1e3)
	}
	device, wall = device[1:], wall[1:] // the first warms up
	slices.Sort(device)
	slices.Sort(wall)
	fmt.Printf("  %d layers on %d×%d pixels: %.4g ms on the device (from %.4g to %.4g), %.4g ms in all, medians of %d; %.3g GFLOP/s, %.1f MiB\n",
		len(n.Steps), shape[3], shape[2], device[runs/2], device[0], device[runs-1], wall[runs/2], runs, float64(n.FLOPs)/1e6/device[runs/2], float64(e.Memory().InUse)/(1<<20))
	logits, err := n.Read(ctx, "out")
	if err != nil {
		return nil, err
	}
	return classes(logits, n.Shape("out")), nil
}

// classes picks the largest of each pixel's scores.
func classes(logits []float32, s conv.Shape) []int {
	plane := s[2] * s[3]
	out := make([]int, plane)
	for i := range out {
		for k := 1; k < s[1]; k++ {
			if logits[k*plane+i] > logits[out[i]*plane+i] {
				out[i] = k
			}
		}
	}
	return out
}

// agreement is how many in a hundred pixels are of the same class.
func agreement(a, b []int) float64 {
	same := 0
	for i, l := range a {
		if l == b[i] {
			same++
		}
	}
	return 100 * float64(same) / float64(len(a))
}

// paint gives every class a colour: the first bits of its number are spread over
// red, green and blue, as PASCAL VOC has it.
func paint(labels []int, s conv.Shape) tensorio.Image {
	m := tensorio.Image{Shape: conv.Shape{1, 3, s[2], s[3]}, Pix: make([]float32, 3*len(labels))}
	for i, l := range labels {
		c := color.RGBA{}
		for bit := range 3 {
			c.R |= uint8(l>>(3*bit)&1) << (7 - bit)
			c.G |= uint8(l>>(3*bit+1)&1) << (7 - bit)
			c.B |= uint8(l>>(3*bit+2)&1) << (7 - bit)
		}
		for k, v := range []uint8{c.R, c.G, c.B} {
			m.Pix[k*len(labels)+i] = float32(v) / 255
		}
	}
	return m
}
