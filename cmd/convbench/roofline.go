package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"

	"vkconv"
	"vkconv/bench"
)

var rooflineCommand = command{
	name:  "roofline",
	short: "measure a device's own peaks with micro-kernels",
	long: `Measures the most that the device and the CPU path do, with kernels that do nothing else:
multiply-adds of float32 numbers in registers (and of float16 ones, where the device has them),
reading and copying memory past the caches, the driver's own copy, and reading what a workgroup
shares. The CPU path's multiply-adds are those of its assembly, on all threads at once; its copy
is Go's. Other work on the machine meanwhile makes all of it less.

A layer can be no faster than min(peak, intensity × bandwidth), its roofline; the bandwidth is
the best of the three. The tables of convbench, bench and report give each row's share of that.
It passes 100% where tensors stay in caches, where products with padding are counted but
skipped, and with Winograd's algorithm.`,
	examples: `
  convbench roofline
  convbench roofline -device llvmpipe -json`,
	setup: func(flags *flag.FlagSet) action {
		device := deviceFlag(flags)
		asJSON := flags.Bool("json", false, "write JSON")
		return func(ctx context.Context, e *env, args []string) error {
			if len(args) > 0 {
				return badInputf("%q is too many; roofline takes flags only", args[0])
			}
			return measureRoofline(ctx, e, *device, *asJSON)
		}
	},
}

// roof is one device's peaks as -json writes them.
type roof struct {
	Device string          `json:"device"`
	Driver string          `json:"driver"`
	Peaks  vkconv.Roofline `json:"peaks"`
}

func measureRoofline(ctx context.Context, e *env, device string, asJSON bool) (err error) {
	gpu, cpu, why, err := engines(device)
	if err != nil {
		return err
	}
	defer func() { err = e.shut(err, gpu, cpu) }()
	if gpu == nil && !asJSON {
		fmt.Fprintf(e.stdout, "why     %s\n\n", wrap(why, 72, "        "))
	}
	var roofs []roof
	for _, engine := range []*vkconv.Engine{gpu, cpu} {
		if engine == nil {
			continue
		}
		e.progress("measuring %s", engine.Name())
		peaks, err := engine.Roofline(ctx)
		e.progress("")
		if err != nil {
			return err
		}
		one := roof{engine.Name(), engine.Driver(), peaks}
		if !asJSON {
			one.write(e.stdout)
		}
		roofs = append(roofs, one)
	}
	if !asJSON {
		return nil
	}
	encoder := json.NewEncoder(e.stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(roofs)
}

func (r roof) write(w io.Writer) {
	fmt.Fprintf(w, "%s (%s)\n", r.Device, r.Driver)
	line := func(name string, rate float64, unit, what string) {
		if rate > 0 {
			fmt.Fprintf(w, "  %-15s %8.1f %-7s  %s\n", name, rate/1e9, unit, what)
		}
	}
	line("float32", r.Peaks.Float32, "GFLOP/s", "2 for a multiply-add, in registers")
	line("float16", r.Peaks.Float16, "GFLOP/s", "in pairs")
	line("read", r.Peaks.Read, "GB/s", "by a kernel")
	line("copy", r.Peaks.Copy, "GB/s", "by a kernel, read and written")
	line("copy command", r.Peaks.Command, "GB/s", "without a kernel")
	line("shared memory", r.Peaks.Shared, "GB/s", "read by a workgroup")
	fmt.Fprintf(w, "  roofline: %s\n", bench.RoofLine(r.Peaks))
}
