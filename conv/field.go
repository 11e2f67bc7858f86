package conv

// Layer is what one layer of a stack (a convolution or a pooling) does along
// one axis. Stride and Dilation 0 mean 1.
type Layer struct {
	Kernel, Stride, Dilation int
	Pad                      int // pixels added before the first
}

// Field is the receptive field of one output of a stack of layers along one
// axis, in pixels of the stack's input.
type Field struct {
	Size  int // pixels from the first to the last that an output depends on
	Jump  int // pixels between the fields of neighbouring outputs (the effective stride)
	Start int // first pixel of output 0's field; negative inside the padding
}

// Center returns the middle of output 0's field; pixel i has its middle at i.
func (f Field) Center() float64 { return float64(f.Start) + float64(f.Size-1)/2 }

// ReceptiveField follows a stack from its input to its output by
//
//	start −= pad·jump;  size += dilation·(kernel−1)·jump;  jump *= stride
//
// (Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural
// Networks", Distill 2019). The empty stack sees its own pixel.
func ReceptiveField(stack ...Layer) Field {
	f := Field{Size: 1, Jump: 1}
	for _, l := range stack {
		f.Start -= l.Pad * f.Jump
		f.Size += max(l.Dilation, 1) * (l.Kernel - 1) * f.Jump
		f.Jump *= max(l.Stride, 1)
	}
	return f
}

// Layers returns the problem as a layer of a stack, along rows and along columns.
func (q Problem) Layers() (rows, columns Layer) {
	return Layer{q.R, q.StrideY, q.DilationY, q.Pad.Top}, Layer{q.S, q.StrideX, q.DilationX, q.Pad.Left}
}
