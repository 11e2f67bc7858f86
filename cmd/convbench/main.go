// Command convbench runs direct, dilated and deformable convolutions on a
// Vulkan device and on the CPU, each checking the other, and measures them.
//
//	convbench                     verify and time a built-in set of layers
//	convbench roofline            the device's own peaks, which tables give shares of
//	convbench tune -set resnet50  which kernels are the fastest, and why they were chosen
//	convbench devices             what Vulkan devices there are, and which is used
//	convbench check FILE.npz…     run cases made by another program
//	convbench check -random 1000  run random cases
//	convbench apply IMAGE -o OUT.png -kernel laplacian -dilation 4
//	convbench explain "3x3 d1, 3x3 d2, 3x3 d4" -o field.svg
//	convbench onnx net.onnx -in x=photo.jpg -o y.npz
//	convbench learn -o learned
//	convbench show IMAGE -o points.svg -deform swirl -jump 16
//	convbench report -o report.html
//	convbench view IMAGE          the same in a window, built with -tags window
//
// convbench COMMAND -h says more. The exit status is 0 if all is well, 1 if a
// result is wrong or a device fails, 2 if the input is at fault.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second one ends what does not come to an end by itself, such as waiting for a pipe
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is the whole command: arguments and streams in, exit status out.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	out := &output{Writer: stdout}
	e := &env{stdin: stdin, stdout: out, stderr: stderr, terminal: isTerminal(stderr)}
	err := e.dispatch(ctx, args)
	if err == nil {
		err = out.err
	}
	return e.finish(err)
}
