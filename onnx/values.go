package onnx

import (
	"slices"

	"vkconv"
	"vkconv/conv"
)

// value is what flows between nodes, while a plan is made.
type value struct {
	name  string
	dims  []int
	known *constant // its elements, where they are known; else it is on the device

	same  *value // the value whose data this is with other extents, nil for one with its own
	uses  int    // of its data: how many layers read it still
	keep  bool   // an input or output: its memory is nobody else's
	place *place // in a concatenation, nil elsewhere

	buf    *buffer
	tensor *vkconv.Tensor // all of buf or channels of it
	first  int            // channel
}

// place says that a value is written into channels of another.
type place struct {
	of    *value
	first int
}

// data is the value that owns the data.
func (v *value) data() *value {
	for v.same != nil {
		v = v.same
	}
	return v
}

// buffer is a tensor that values of one shape use after one another.
type buffer struct {
	tensor *vkconv.Tensor
	uses   int
	keep   bool
}

// shape4 is how the device holds a tensor of any number of extents: images,
// channels, rows, columns; of two extents images and channels, of three images,
// channels and columns.
func shape4(dims []int) conv.Shape {
	s := conv.Shape{1, 1, 1, 1}
	switch len(dims) {
	case 0:
	case 1:
		s[1] = dims[0]
	case 2:
		s[0], s[1] = dims[0], dims[1]
	case 3:
		s[0], s[1], s[3] = dims[0], dims[1], dims[2]
	default:
		s = conv.Shape{dims[0], dims[1], dims[2], elements(dims[3:])}
	}
	return s
}

// from4 turns a shape that an operator worked out into as many extents as its input has.
func from4(s conv.Shape, rank int) []int {
	switch rank {
	case 2:
		return []int{s[0], s[1]}
	case 3:
		return []int{s[0], s[1], s[3]}
	}
	return slices.Clone(s[:])
}

// spatial gives rows and columns of a list that has one entry for each spatial axis,
// of a one-dimensional one with missing for the rows.
func spatial(list []int, rank, missing int) ([2]int, bool) {
	switch {
	case list == nil:
		return [2]int{missing, missing}, true
	case rank == 3 && len(list) == 1:
		return [2]int{missing, list[0]}, true
	case rank == 4 && len(list) == 2:
		return [2]int{list[0], list[1]}, true
	}
	return [2]int{}, false
}
