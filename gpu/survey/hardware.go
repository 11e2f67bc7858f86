package survey

import (
	"path"
	"strings"
)

// vendors are PCI's numbers of those that make display hardware.
var vendors = map[string]string{"0x1002": "AMD", "0x8086": "Intel", "0x10de": "NVIDIA", "0x1af4": "virtio", "0x15ad": "VMware", "0x1234": "QEMU", "0x1013": "Cirrus", "0x5143": "Qualcomm", "0x1414": "Microsoft", "0x1a03": "ASPEED"}

// adapters are the display controllers on PCI and those that only the kernel's
// graphics drivers know, of systems on a chip.
func (s System) adapters() (found []Adapter) {
	for _, dev := range s.list("/sys/bus/pci/devices", "") {
		if !strings.HasPrefix(s.line(dev+"/class"), "0x03") && !strings.HasPrefix(s.line(dev+"/class"), "0x12") { // display, processing accelerator
			continue
		}
		found = append(found, s.adapter(dev))
	}
	for _, card := range s.list("/sys/class/drm", "") {
		if !strings.HasPrefix(path.Base(card), "renderD") || s.exists(card+"/device/class") {
			continue
		}
		if of := s.uevent(card+"/device/uevent", "OF_COMPATIBLE_0"); of != "" {
			found = append(found, Adapter{Vendor: of, Driver: s.uevent(card+"/device/uevent", "DRIVER")})
		}
	}
	if s.exists("/dev/dxg") {
		found = append(found, Adapter{Vendor: "Windows' GPU through WSL", Driver: "dxg"})
	}
	return found
}

func (s System) adapter(dev string) Adapter {
	vendor, device := s.line(dev+"/vendor"), s.line(dev+"/device")
	a := Adapter{Vendor: vendors[vendor], ID: strings.TrimPrefix(vendor, "0x") + ":" + strings.TrimPrefix(device, "0x"), Driver: s.uevent(dev+"/uevent", "DRIVER")}
	if a.Vendor == "" {
		a.Vendor = "vendor " + vendor
	}
	return a
}

func (s System) line(p string) string { return strings.TrimSpace(s.read(p)) }

// uevent reads one value of a uevent file.
func (s System) uevent(p, key string) string {
	for line := range strings.Lines(s.read(p)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && name == key {
			return value
		}
	}
	return ""
}

// nodes are the device files that drivers open.
func (s System) nodes() (found []Node) {
	if s.GOOS != "linux" {
		return nil
	}
	var paths []string
	for _, p := range s.list("/dev/dri", "") {
		if strings.HasPrefix(path.Base(p), "renderD") {
			paths = append(paths, p)
		}
	}
	for _, p := range []string{"/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg", "/dev/mali0"} {
		if s.exists(p) {
			paths = append(paths, p)
		}
	}
	for _, p := range paths {
		n := Node{Path: p}
		if err := s.Open(p); err != nil {
			n.Problem = err.Error()
		}
		found = append(found, n)
	}
	return found
}
