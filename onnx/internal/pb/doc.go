// Package pb holds the messages of ONNX files, generated from onnx.proto.
//
// onnx.proto is the ONNX project's own, from its Python package 1.23.2, unchanged
// (Apache License 2.0, https://github.com/onnx/onnx/blob/main/LICENSE).
//
// protobuf keeps one table of all messages of a program and refuses two of one
// name. So that this package goes with any other that has ONNX's messages, the
// generator calls the file and its package vkconv.onnx; bytes don't hold names.
package pb

//go:generate go run -C _gen . ../onnx.proto ../onnx.pb.go
