package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"vkconv"
	"vkconv/gpu"
)

var devicesCommand = command{
	name:  "devices",
	short: "list the Vulkan devices and say which is used",
	long: `Lists every Vulkan device with its type, driver, limits and what shaders may use on it, says
which one would be used and why, and where there is none, how to get one.`,
	examples: `
  convbench devices
  VKCONV_DEVICE=llvmpipe convbench devices`,
	setup: func(flags *flag.FlagSet) action {
		device := deviceFlag(flags)
		return func(_ context.Context, e *env, args []string) error {
			if len(args) > 0 {
				return badInputf("%q is too many; devices takes flags only", args[0])
			}
			return listDevices(e, *device)
		}
	},
}

func listDevices(e *env, device string) error {
	infos, err := vkconv.Devices()
	for _, i := range infos {
		describeDevice(e, i)
	}
	if err == nil && len(infos) == 0 {
		err = gpu.ErrNoDevice
	}
	if err != nil {
		fmt.Fprintf(e.stdout, "No Vulkan device: %s\n\n", wrap(err.Error(), 100, ""))
		advise(e, err)
	}
	engine, err := vkconv.Open(vkconv.Options{Device: device})
	if err != nil {
		return badInput(err)
	}
	defer engine.Close()
	fmt.Fprintf(e.stdout, "used    %s\ndriver  %s\n", engine.Name(), engine.Driver())
	fmt.Fprintf(e.stdout, "why     %s\n", wrap(engine.Why(), 92, "        "))
	return nil
}

func describeDevice(e *env, i gpu.Info) {
	l, f := i.Limits, i.Features
	line := func(name, format string, args ...any) {
		fmt.Fprintf(e.stdout, "   %-11s %s\n", name, wrap(fmt.Sprintf(format, args...), 85, strings.Repeat(" ", 15)))
	}
	fmt.Fprintf(e.stdout, "%d: %s\n", i.Index, i.Name)
	if i.Unusable != "" {
		line("unusable", "%s", i.Unusable)
	}
	line("type", "%s", i.Type)
	line("driver", "%s", i.DriverText())
	reach := "reached by the processor"
	if !f.HostVisible {
		reach = "through staging"
	}
	line("memory", "%s, %s; buffers up to %s, bindings up to %s", bytesText(l.DeviceMemory), reach, bytesText(l.BufferSize), bytesText(l.StorageBufferRange))
	line("workgroups", "up to %d invocations, %s shared, %d×%d×%d groups a dispatch",
		l.GroupInvocations, bytesText(int64(l.SharedMemory)), l.Groups[0], l.Groups[1], l.Groups[2])
	sub := fmt.Sprint(f.SubgroupSize)
	if f.SubgroupMin != f.SubgroupMax {
		sub = fmt.Sprintf("%d (%d to %d)", f.SubgroupSize, f.SubgroupMin, f.SubgroupMax)
	}
	line("subgroups", "of %s", sub)
	var has, lacks []string
	for _, feature := range []struct {
		name string
		ok   bool
	}{
		{"16-bit storage", f.Storage16}, {"8-bit storage", f.Storage8}, {"float16", f.Float16}, {"bfloat16", f.BFloat16}, {"int8", f.Int8},
		{"int16", f.Int16}, {"int64", f.Int64}, {"float64", f.Float64}, {"float atomics", f.FloatAtomicAdd},
		{"memory model", f.MemoryModel},
	} {
		if feature.ok {
			has = append(has, feature.name)
		} else {
			lacks = append(lacks, feature.name)
		}
	}
	line("has", "%s", orNone(has))
	line("lacks", "%s", orNone(lacks))
	line("matrices", "%s", orNone(f.Matrices()))
	if l.TimestampBits == 0 {
		line("timestamps", "none: device times are not measured")
	} else {
		line("timestamps", "%.4g ns a tick, %d bits", l.TimestampPeriod, l.TimestampBits)
	}
	fmt.Fprintln(e.stdout)
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// bytesText writes a size in the largest unit of which there is at least one.
func bytesText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, u := float64(n), 0
	for v >= 1024 && u < len(units)-1 {
		v /= 1024
		u++
	}
	return fmt.Sprintf("%.4g %s", v, units[u])
}

// adviseIfNone says how to get a device where the CPU stands in for one that
// nobody ruled out.
func adviseIfNone(e *env, device string) {
	if device != "" {
		return
	}
	if _, err := vkconv.Devices(); err != nil {
		fmt.Fprintln(e.stdout)
		advise(e, err)
	}
}

// advise says what to install.
func advise(e *env, err error) {
	if errors.Is(err, gpu.ErrNoCgo) {
		fmt.Fprint(e.stdout, `Vulkan is reached through cgo. Build with CGO_ENABLED=1 and a C compiler (Debian: apt install gcc).
`)
		return
	}
	fmt.Fprint(e.stdout, `A Vulkan driver is needed; without a GPU a software driver will do:
  Debian, Ubuntu  apt install libvulkan1 mesa-vulkan-drivers
  Fedora          dnf install vulkan-loader mesa-vulkan-drivers
  Arch            pacman -S vulkan-icd-loader and vulkan-radeon, vulkan-intel, nvidia-utils or vulkan-swrast
  macOS           brew install vulkan-loader molten-vk
  Windows         the vendor's graphics driver brings Vulkan (vulkan-1.dll) with it
NVIDIA's own driver for Linux has Vulkan, too (Debian: nvidia-driver with nvidia-vulkan-icd).
`)
}
