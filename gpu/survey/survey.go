// Package survey looks for Vulkan by the files that belong to it: the loader, the
// drivers' and layers' manifests, the display hardware and its device nodes. It
// opens none of them, so that it works without cgo, without a loader, and where a
// driver crashes when it is loaded; and it says what is missing and the command
// that brings it.
//
// Everything is looked up through a [System], which tests fake.
package survey

import (
	"io/fs"
	"path"
	"slices"
	"strings"
)

// System is what a survey may look at.
type System struct {
	GOOS, GOARCH string
	Cgo          bool // whether this program was built with it
	// FS is the machine's file system from its root: paths without the first slash,
	// on Windows from drive C:.
	FS     fs.FS
	Getenv func(string) string
	Home   string // absolute
	User   string
	// Open says why a device node cannot be opened for reading and writing; nil where it can.
	Open func(path string) error
	// Registry returns the manifests that Windows' registry lists below
	// SOFTWARE\Khronos\Vulkan; nil elsewhere.
	Registry func(kind string) []string
}

// Survey is what there is.
type Survey struct {
	System    string     // "Debian GNU/Linux 12 (bookworm)", "macOS", "Windows"
	Family    Family     // whose commands mend it; "" where that is not known
	Container bool       // inside one, where device nodes must be handed in
	Loaders   []string   // the loader's libraries
	Drivers   []Manifest // in the loader's order
	Layers    []Manifest // explicit ones
	Adapters  []Adapter
	Nodes     []Node
	Narrowed  []string // the variables that change what the loader finds, as NAME=value
}

// Manifest is a driver's or a layer's .json file.
type Manifest struct {
	Path    string
	Name    string // a layer's own, or the file's
	Library string // as the manifest has it
	API     string // Vulkan's version
	Problem string // why the loader cannot use it; "" where nothing speaks against it
}

// Adapter is a piece of display hardware.
type Adapter struct {
	Vendor string // "AMD", "Intel", "NVIDIA", …, or its number
	ID     string // vendor:device
	Driver string // the kernel's, "" where none has taken it
}

// Node is a device file through which drivers reach the hardware.
type Node struct {
	Path    string
	Problem string // why it cannot be opened
}

// Family is a system whose packages have the same names.
type Family string

const (
	Debian  Family = "Debian, Ubuntu"
	Fedora  Family = "Fedora"
	Arch    Family = "Arch"
	MacOS   Family = "macOS"
	Windows Family = "Windows"
)

// Families are all of them, in the order in which they are shown.
var Families = []Family{Debian, Fedora, Arch, MacOS, Windows}

// Look surveys a system.
func Look(s System) Survey {
	var v Survey
	v.System, v.Family = s.identify()
	v.Container = s.exists("/.dockerenv") || s.exists("/run/.containerenv")
	for _, name := range []string{"VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_ADD_DRIVER_FILES", "VK_LOADER_DRIVERS_SELECT", "VK_LOADER_DRIVERS_DISABLE",
		"VK_LAYER_PATH", "VKCONV_DEVICE", "VKCONV_VALIDATION", "MESA_VK_DEVICE_SELECT", "VK_LOADER_DEVICE_SELECT"} {
		if value := s.Getenv(name); value != "" {
			v.Narrowed = append(v.Narrowed, name+"="+value)
		}
	}
	v.Loaders = s.loaders()
	v.Drivers = s.drivers()
	v.Layers = s.layers()
	v.Adapters = s.adapters()
	v.Nodes = s.nodes()
	return v
}

// Validation tells whether the Khronos validation layer is there.
func (v Survey) Validation() bool {
	return slices.ContainsFunc(v.Layers, func(m Manifest) bool { return m.Name == "VK_LAYER_KHRONOS_validation" && m.Problem == "" })
}

// identify names the system and its family.
func (s System) identify() (string, Family) {
	switch s.GOOS {
	case "darwin":
		return "macOS", MacOS
	case "windows":
		return "Windows", Windows
	case "linux":
	default:
		return s.GOOS, ""
	}
	text := s.read("/etc/os-release")
	if text == "" {
		text = s.read("/usr/lib/os-release")
	}
	values := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			values[name] = strings.Trim(value, `"'`)
		}
	}
	name := values["PRETTY_NAME"]
	if name == "" {
		name = "Linux"
	}
	for _, id := range strings.Fields(values["ID"] + " " + values["ID_LIKE"]) {
		switch id {
		case "debian", "ubuntu":
			return name, Debian
		case "fedora", "rhel", "centos":
			return name, Fedora
		case "arch", "archlinux":
			return name, Arch
		}
	}
	return name, ""
}

// inside is a path as FS has it.
func inside(p string) string {
	p = strings.ReplaceAll(p, `\`, "/")
	if len(p) > 1 && p[1] == ':' {
		p = p[2:]
	}
	return strings.TrimPrefix(path.Clean("/"+p), "/")
}

func (s System) exists(p string) bool {
	_, err := fs.Stat(s.FS, inside(p))
	return err == nil
}

func (s System) read(p string) string {
	b, err := fs.ReadFile(s.FS, inside(p))
	if err != nil {
		return ""
	}
	return string(b)
}

// list returns the files of a folder with an ending, sorted, as absolute paths.
func (s System) list(dir, ending string) (files []string) {
	entries, err := fs.ReadDir(s.FS, inside(dir))
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ending) {
			files = append(files, path.Join(dir, e.Name()))
		}
	}
	return files
}
