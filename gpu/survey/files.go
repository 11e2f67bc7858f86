package survey

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// libraryDirs are where the dynamic linker looks, as far as that is the same everywhere.
func (s System) libraryDirs() (dirs []string) {
	add := func(more ...string) {
		for _, d := range more {
			if d != "" && !slices.Contains(dirs, d) {
				dirs = append(dirs, d)
			}
		}
	}
	switch s.GOOS {
	case "darwin":
		add(strings.Split(s.Getenv("DYLD_LIBRARY_PATH"), ":")...)
		if sdk := s.Getenv("VULKAN_SDK"); sdk != "" {
			add(path.Join(sdk, "lib"))
		}
		add("/usr/local/lib", "/opt/homebrew/lib")
	case "windows":
		add(`C:\Windows\System32`)
	default:
		add(strings.Split(s.Getenv("LD_LIBRARY_PATH"), ":")...)
		triple := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu", "386": "i386-linux-gnu", "arm": "arm-linux-gnueabihf", "riscv64": "riscv64-linux-gnu"}[s.GOARCH]
		if triple != "" {
			add("/usr/lib/"+triple, "/lib/"+triple)
		}
		add("/usr/lib64", "/lib64", "/usr/local/lib", "/usr/lib", "/lib")
	}
	return dirs
}

// loaders are the loader's libraries by the names that package gpu opens.
func (s System) loaders() (found []string) {
	names := []string{"libvulkan.so.1"}
	switch s.GOOS {
	case "darwin":
		names = []string{"libvulkan.1.dylib", "libvulkan.dylib", "libMoltenVK.dylib"}
	case "windows":
		names = []string{"vulkan-1.dll"}
	}
	for _, name := range names {
		for _, dir := range s.libraryDirs() {
			if p := s.join(dir, name); s.exists(p) {
				found = append(found, p)
			}
		}
	}
	return found
}

func (s System) join(dir, name string) string {
	if s.GOOS == "windows" {
		return strings.TrimRight(dir, `\`) + `\` + name
	}
	return path.Join(dir, name)
}

// dataDirs are where the loader looks for manifests, in its order (Vulkan-Loader,
// docs/LoaderDriverInterface.md and LoaderLayerInterface.md).
func (s System) dataDirs() (dirs []string) {
	or := func(name, otherwise string) []string {
		if v := s.Getenv(name); v != "" {
			return strings.Split(v, ":")
		}
		if otherwise == "" {
			return nil
		}
		return strings.Split(otherwise, ":")
	}
	home := func(rest string) string {
		if s.Home == "" {
			return ""
		}
		return path.Join(s.Home, rest)
	}
	dirs = append(dirs, or("XDG_CONFIG_HOME", home(".config"))...)
	dirs = append(dirs, or("XDG_CONFIG_DIRS", "/etc/xdg")...)
	dirs = append(dirs, "/usr/local/etc", "/etc")
	dirs = append(dirs, or("XDG_DATA_HOME", home(".local/share"))...)
	dirs = append(dirs, or("XDG_DATA_DIRS", "/usr/local/share:/usr/share")...)
	if s.GOOS == "darwin" {
		dirs = append(dirs, "/opt/homebrew/etc", "/opt/homebrew/share", "/usr/local/share")
		if sdk := s.Getenv("VULKAN_SDK"); sdk != "" {
			dirs = append(dirs, path.Join(sdk, "share"))
		}
	}
	var unique []string
	for _, d := range dirs {
		if d = path.Clean(d); d != "." && !slices.Contains(unique, d) {
			unique = append(unique, d)
		}
	}
	return unique
}

// drivers are the manifests of drivers in the loader's order. VK_DRIVER_FILES, and
// for older loaders VK_ICD_FILENAMES, replace the search.
func (s System) drivers() (found []Manifest) {
	sep := ":"
	if s.GOOS == "windows" {
		sep = ";"
	}
	add := func(files []string) {
		for _, f := range files {
			found = append(found, s.driver(f))
		}
	}
	for _, name := range []string{"VK_DRIVER_FILES", "VK_ICD_FILENAMES"} {
		if v := s.Getenv(name); v != "" {
			for _, f := range strings.Split(v, sep) {
				if files := s.list(f, ".json"); len(files) > 0 { // a folder
					add(files)
				} else if f != "" {
					add([]string{f})
				}
			}
			return found
		}
	}
	if v := s.Getenv("VK_ADD_DRIVER_FILES"); v != "" {
		add(strings.Split(v, sep))
	}
	if s.GOOS == "windows" {
		if s.Registry != nil {
			add(s.Registry("Drivers"))
		}
		return found
	}
	for _, d := range s.dataDirs() {
		add(s.list(path.Join(d, "vulkan/icd.d"), ".json"))
	}
	return found
}

// layers are the explicit layers' manifests.
func (s System) layers() (found []Manifest) {
	var files []string
	switch v := s.Getenv("VK_LAYER_PATH"); {
	case v != "":
		for _, d := range strings.Split(v, ":") {
			files = append(files, s.list(d, ".json")...)
		}
	case s.GOOS == "windows":
		if s.Registry != nil {
			files = s.Registry("ExplicitLayers")
		}
	default:
		for _, d := range s.dataDirs() {
			files = append(files, s.list(path.Join(d, "vulkan/explicit_layer.d"), ".json")...)
		}
	}
	for _, f := range files {
		m := Manifest{Path: f, Name: path.Base(f)}
		var content struct {
			Layer struct {
				Name    string `json:"name"`
				Library string `json:"library_path"`
				API     string `json:"api_version"`
			} `json:"layer"`
			Layers []json.RawMessage `json:"layers"`
		}
		if m.Problem = s.decode(f, &content); m.Problem == "" && content.Layers == nil {
			m.Name, m.Library, m.API = content.Layer.Name, content.Layer.Library, content.Layer.API
			if m.Library != "" { // a layer made of others has none
				m.Problem = s.library(f, m.Library)
			}
		}
		found = append(found, m)
	}
	return found
}

// driver reads a driver's manifest.
func (s System) driver(file string) Manifest {
	m := Manifest{Path: file, Name: strings.TrimSuffix(path.Base(strings.ReplaceAll(file, `\`, "/")), ".json")}
	var content struct {
		ICD struct {
			Library string `json:"library_path"`
			API     string `json:"api_version"`
		}
	}
	if m.Problem = s.decode(file, &content); m.Problem != "" {
		return m
	}
	m.Library, m.API = content.ICD.Library, content.ICD.API
	if m.Library == "" {
		m.Problem = "it names no library (ICD.library_path)"
		return m
	}
	m.Problem = s.library(file, m.Library)
	return m
}

// missing is the problem of a manifest that is not there.
const missing = "there is no such file"

// decode reads a manifest and says what is wrong with the file.
func (s System) decode(file string, into any) string {
	const longest = 1 << 20
	info, err := fs.Stat(s.FS, inside(file))
	if err != nil {
		return missing
	}
	if !info.Mode().IsRegular() || info.Size() > longest {
		return fmt.Sprintf("it is no file of at most %d bytes", longest)
	}
	b, err := fs.ReadFile(s.FS, inside(file))
	if err != nil {
		return missing
	}
	if err := json.Unmarshal(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), into); err != nil {
		return fmt.Sprintf("it is no JSON: %v", err)
	}
	return ""
}

// library says why a manifest's library cannot be loaded: an absolute path, one
// relative to the manifest, or a bare name that the dynamic linker searches.
func (s System) library(manifest, lib string) string {
	p := lib
	slashed := strings.ReplaceAll(lib, `\`, "/")
	switch {
	case strings.HasPrefix(slashed, "/") || len(slashed) > 1 && slashed[1] == ':':
	case strings.Contains(slashed, "/"):
		p = path.Join(path.Dir(strings.ReplaceAll(manifest, `\`, "/")), slashed)
	default:
		for _, dir := range s.libraryDirs() {
			if s.exists(s.join(dir, lib)) {
				return s.architecture(s.join(dir, lib))
			}
		}
		if s.GOOS == "windows" || s.GOOS == "darwin" {
			return "" // the folders above are not all that there are
		}
		return fmt.Sprintf("its library %s is in none of %s", lib, strings.Join(s.libraryDirs(), ", "))
	}
	if !s.exists(p) {
		return fmt.Sprintf("its library %s is not there", p)
	}
	return s.architecture(p)
}

// machines are ELF's numbers of Go's architectures.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "386": elf.EM_386, "arm": elf.EM_ARM, "riscv64": elf.EM_RISCV, "ppc64le": elf.EM_PPC64, "loong64": elf.EM_LOONGARCH}

// architecture says whether an ELF library is for another processor than this program.
func (s System) architecture(p string) string {
	if s.GOOS == "windows" || s.GOOS == "darwin" {
		return ""
	}
	f, err := s.FS.Open(inside(p))
	if err != nil {
		return fmt.Sprintf("its library %s cannot be read", p)
	}
	defer f.Close()
	head := make([]byte, 20)
	if n, _ := f.Read(head); n < len(head) || string(head[:4]) != elf.ELFMAG {
		return fmt.Sprintf("its library %s is no shared library", p)
	}
	machine := elf.Machine(uint16(head[18]) | uint16(head[19])<<8)
	if elf.Data(head[elf.EI_DATA]) == elf.ELFDATA2MSB {
		machine = elf.Machine(uint16(head[19]) | uint16(head[18])<<8)
	}
	if want, ok := machines[s.GOARCH]; ok && machine != want {
		return fmt.Sprintf("its library %s is for %s, this program is for %s", p, strings.TrimPrefix(machine.String(), "EM_"), s.GOARCH)
	}
	return ""
}
