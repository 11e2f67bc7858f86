package main

import (
	"math"

	"vkconv/conv"
	"vkconv/tensorio"
)

// Scene draws a picture where there is no photograph at hand: sky, sun, hills one
// behind the other, and a texture over it.
func Scene(h, w int) tensorio.Image {
	m := tensorio.Image{Shape: conv.Shape{1, 3, h, w}, Pix: make([]float32, 3*h*w)}
	for y := range h {
		for x := range w {
			u, v := float64(x)/float64(w), float64(y)/float64(h)
			c := [3]float64{0.35 + 0.4*v, 0.55 + 0.3*v, 0.9}
			if math.Hypot(u-0.75, (v-0.22)*float64(h)/float64(w)) < 0.07 {
				c = [3]float64{1, 0.92, 0.6}
			}
			for i := range 3 {
				f := float64(i)
				if ridge := 0.45 + 0.16*f + 0.07*math.Sin(5*u*(1+f/2)+2*f) + 0.02*math.Sin(23*u+f); v > ridge {
					c = [3]float64{0.3 - 0.09*f, 0.45 - 0.1*f, 0.4 - 0.13*f}
				}
			}
			grain := 0.03 * math.Sin(float64(x*x%97)) * math.Cos(float64(y*y%89))
			for k := range c {
				m.Pix[(k*h+y)*w+x] = float32(min(max(c[k]+grain, 0), 1))
			}
		}
	}
	return m
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
