//go:build cgo

package gpu_test

import (
	"embed"
	"encoding/binary"
	"fmt"
	"log"

	"vkconv/gpu"
)

//go:embed testdata/add.spv
var shaders embed.FS

// Two buffers of numbers, one added to the other on whatever device there is.
func Example() {
	d, err := gpu.Open(gpu.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	fmt.Println(d.Chosen())

	code, err := shaders.ReadFile("testdata/add.spv")
	if err != nil {
		log.Fatal(err)
	}
	p, err := d.Pipeline(&gpu.Module{Name: "add", Code: code, Bindings: 2, PushBytes: 4}, nil)
	if err != nil {
		log.Fatal(err)
	}
	const n = 1 << 20
	x, err := d.NewBuffer(4 * n)
	if err != nil {
		log.Fatal(err)
	}
	y, err := d.NewBuffer(4 * n)
	if err != nil {
		log.Fatal(err)
	}
	if err := d.Fill(x, 0, 4*n, 40); err != nil {
		log.Fatal(err)
	}
	if err := d.Fill(y, 0, 4*n, 2); err != nil {
		log.Fatal(err)
	}
	s, err := d.NewStream()
	if err != nil {
		log.Fatal(err)
	}
	push := binary.LittleEndian.AppendUint32(nil, n)
	err = s.Dispatch(p, [3]uint32{n / uint32(p.GroupSize()[0]), 1, 1}, push, []gpu.Binding{{Buffer: x}, {Buffer: y, Access: gpu.Read}})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := s.Submit(); err != nil {
		log.Fatal(err)
	}
	sums := make([]byte, 4*n)
	if err := d.Download(sums, x, 0); err != nil { // waits
		log.Fatal(err)
	}
	fmt.Println(binary.LittleEndian.Uint32(sums))
}
