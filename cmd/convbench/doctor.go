package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"vkconv"
	"vkconv/gpu"
	"vkconv/gpu/survey"
)

var doctorCommand = command{
	name:  "doctor",
	short: "find out why there is no GPU, and the command that mends it",
	long: `Looks for everything that a computation on a GPU needs and says what is missing: cgo in this
program, the Vulkan loader, the drivers' manifests and the libraries they name, the display
hardware, the device nodes and who may open them, the environment variables that narrow the
search, and the devices that come of it, with the reason where one is passed over, and the
cooperative matrices (matrix units) that they have. For what is missing it prints the command that
brings it, on Debian and Ubuntu, Fedora, Arch, macOS or Windows. It works without cgo, without a
loader and without a driver.

The exit status is 0 if a Vulkan device is there that works, otherwise 1.`,
	examples: `
  convbench doctor
  convbench doctor -systems
  VK_DRIVER_FILES=/nonexistent.json convbench doctor`,
	setup: func(flags *flag.FlagSet) action {
		systems := flags.Bool("systems", false, "show the commands for all systems, not only for this one")
		return func(_ context.Context, e *env, args []string) error {
			if len(args) > 0 {
				return badInputf("%q is too many; doctor takes flags only", args[0])
			}
			devices, err := gpu.Devices(gpu.Options{})
			return examine(e, survey.Host(!errors.Is(err, gpu.ErrNoCgo)), devices, err, *systems)
		}
	},
}

// examine reports on a system; devices and failed are what gpu.Devices returned.
func examine(e *env, s survey.System, devices []gpu.Info, failed error, systems bool) error {
	v := survey.Look(s)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(e.stdout, "%-9s %s\n", name, wrap(fmt.Sprintf(format, args...), 82, strings.Repeat(" ", 10)))
	}
	ok := func(problem string) string {
		if problem == "" {
			return "ok"
		}
		return "NOT USABLE: " + problem
	}
	inside := ""
	if v.Container {
		inside = ", in a container"
	}
	line("system", "%s, %s/%s%s", v.System, s.GOOS, s.GOARCH, inside)
	if s.Cgo {
		line("program", "built with cgo")
	} else {
		line("program", "built WITHOUT cgo: no Vulkan")
	}
	line("loader", "%s", orNone(v.Loaders))
	for _, d := range v.Drivers {
		line("driver", "%s, Vulkan %s, %s: %s", d.Path, orUnknown(d.API), orUnknown(d.Library), ok(d.Problem))
	}
	if v.Drivers == nil {
		line("driver", "none")
	}
	for _, l := range v.Layers {
		line("layer", "%s, Vulkan %s: %s", l.Name, orUnknown(l.API), ok(l.Problem))
	}
	for _, a := range v.Adapters {
		line("hardware", "%s %s, kernel driver %s", a.Vendor, a.ID, orUnknown(a.Driver))
	}
	for _, n := range v.Nodes {
		line("node", "%s: %s", n.Path, ok(n.Problem))
	}
	for _, set := range v.Narrowed {
		line("variable", "%s", set)
	}
	usable := false
	for _, d := range devices {
		state := "ok"
		if d.Unusable != "" {
			state = "passed over: " + d.Unusable
		}
		usable = usable || d.Unusable == ""
		line("device", "%s: %s", d, state)
		line("matrices", "%s", orNone(d.Features.Matrices()))
	}
	if failed != nil {
		line("device", "none: %v", failed)
	}
	engine, err := vkconv.Open(vkconv.Options{})
	if err != nil {
		line("used", "NONE: %v", err)
	} else {
		line("used", "%s (%s): %s", engine.Name(), engine.Driver(), engine.Why())
		engine.Close()
	}
	bad := prescribe(e, v, survey.Diagnose(s, v, devices, failed), systems)
	switch {
	case !usable:
		fmt.Fprintf(e.stdout, "\nUntil then everything runs on the CPU, as right as on a GPU. convbench devices says more of devices.\n")
		return &failure{status: statusWrong}
	case bad:
		fmt.Fprintf(e.stdout, "\nA device works all the same: convbench check -random 100 tries it.\n")
	case err != nil:
		return badInput(err)
	default:
		fmt.Fprintf(e.stdout, "\nAll is well. convbench check -random 100 compares the device with the oracle.\n")
	}
	return nil
}

// prescribe lists the findings with their commands and tells whether one of them is grave.
func prescribe(e *env, v survey.Survey, findings []survey.Finding, systems bool) (bad bool) {
	for _, f := range findings {
		mark := "note"
		if f.Bad {
			mark, bad = "PROBLEM", true
		}
		fmt.Fprintf(e.stdout, "\n%s: %s\n", mark, wrap(f.Text, 92-len(mark), "  "))
		families := survey.Families
		if !systems && v.Family != "" {
			families = []survey.Family{v.Family}
		}
		if c := f.Fix[""]; c != "" {
			fmt.Fprintf(e.stdout, "  → %s\n", c)
			continue
		}
		for _, family := range families {
			if c := f.On(family); c != "" {
				fmt.Fprintf(e.stdout, "  → %-15s %s\n", family, c)
			}
		}
	}
	return bad
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
