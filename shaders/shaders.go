// Package shaders holds the compute shaders: GLSL sources (*.comp, with what
// they share in *.glsl), the SPIR-V made from them, and what was reflected from
// it. Sources need a compiler only when they change; see the generate line.
package shaders

//go:generate go run ./gen

import (
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"vkconv/shaders/spirv"
)

//go:embed manifest.json spv/*.spv
var files embed.FS

// Module is one compiled shader with what the manifest says about it.
type Module struct {
	spirv.Blob
	Code []byte // SPIR-V
}

// all reads the manifest once.
var all = sync.OnceValues(func() (map[string]*Module, error) {
	text, err := files.ReadFile("manifest.json")
	if err != nil {
		return nil, err
	}
	var blobs []spirv.Blob
	if err := json.Unmarshal(text, &blobs); err != nil {
		return nil, fmt.Errorf("shaders: manifest: %w", err)
	}
	modules := make(map[string]*Module, len(blobs))
	for _, b := range blobs {
		code, err := files.ReadFile("spv/" + b.Name + ".spv")
		if err != nil {
			return nil, err
		}
		modules[b.Name] = &Module{b, code}
	}
	return modules, nil
})

// Sum identifies the set of shaders: the SHA-256 of the manifest, which holds the
// hash of every blob's sources and its compiler.
var Sum = sync.OnceValue(func() [sha256.Size]byte {
	text, err := files.ReadFile("manifest.json")
	if err != nil {
		panic(err) // it is embedded
	}
	return sha256.Sum256(text)
})

// Get returns the module of that name.
func Get(name string) (*Module, error) {
	modules, err := all()
	if err != nil {
		return nil, err
	}
	m, ok := modules[name]
	if !ok {
		return nil, fmt.Errorf("shaders: there is no module %q", name)
	}
	return m, nil
}

// Names returns the names of all modules, sorted.
func Names() ([]string, error) {
	modules, err := all()
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(modules))
	for n := range modules {
		names = append(names, n)
	}
	slices.Sort(names)
	return names, nil
}

// PackPush lays out the push constant block: every member must be given, and
// nothing but its members.
func (m *Module) PackPush(values map[string]int) ([]byte, error) {
	block := make([]byte, m.PushBytes)
	for _, member := range m.Push {
		v, ok := values[member.Name]
		if !ok {
			return nil, fmt.Errorf("shaders: %s: push constant %s is not given", m.Name, member.Name)
		}
		binary.LittleEndian.PutUint32(block[member.Offset:], uint32(v))
	}
	if len(values) != len(m.Push) {
		return nil, fmt.Errorf("shaders: %s: %d push constants are given, it has %d", m.Name, len(values), len(m.Push))
	}
	return block, nil
}

// ConstantID returns the ID of the specialization constant of that name.
func (m *Module) ConstantID(name string) (uint32, error) {
	for _, c := range m.Constants {
		if c.Name == name {
			return uint32(c.ID), nil
		}
	}
	return 0, fmt.Errorf("shaders: %s has no specialization constant %s", m.Name, name)
}

// Binding returns the number of the binding of that block, or −1.
func (m *Module) Binding(name string) int {
	for _, b := range m.Bindings {
		if b.Name == name {
			return b.Number
		}
	}
	return -1
}
