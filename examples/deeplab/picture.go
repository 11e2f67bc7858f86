package main

import (
	"bytes"
	_ "embed"

	"vkconv/tensorio"
)

// photo is a photograph of 256×256 pixels; testdata/photo.py says whose.
//
//go:embed testdata/photo.jpg
var photo []byte

// Picture reads a picture, or the photograph that is here.
func Picture(path string) (tensorio.Image, error) {
	if path != "" {
		return tensorio.ReadImage(path)
	}
	return tensorio.DecodeImage("photo.jpg", bytes.NewReader(photo), int64(len(photo)))
}

// Normalize brings a picture to what torchvision's models are trained on.
func Normalize(m tensorio.Image) []float32 {
	mean, std := [3]float32{0.485, 0.456, 0.406}, [3]float32{0.229, 0.224, 0.225}
	plane := m.Shape[2] * m.Shape[3]
	out := make([]float32, 3*plane)
	for k := range 3 {
		for i := range plane {
			out[k*plane+i] = (m.Pix[k%m.Shape[1]*plane+i] - mean[k]) / std[k] // grey goes into all three
		}
	}
	return out
}
