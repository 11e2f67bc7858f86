//go:build cgo && window

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"
	"unsafe"

	"github.com/go-gl/glfw/v3.3/glfw"

	"vkconv"
	"vkconv/gpu"
	"vkconv/shaders"
	"vkconv/vis"
)

// Windows belong to the program's first thread.
func init() { runtime.LockOSThread() }

// wordsHigh is how many rows of the window words take.
const wordsHigh = 58

// window is an open window with what draws it.
type window struct {
	s      *scene
	engine *vkconv.Engine
	glass  *glfw.Window
	device *gpu.Device
	screen *gpu.Window
	pipe   *gpu.Pipeline

	width, height int
	blue          bool // a pixel's first byte is blue
	photo         *gpu.Buffer
	response      *gpu.Buffer
	marks, tiles  *gpu.Buffer
	words         *gpu.Buffer
	frame         *gpu.Buffer

	changed, dirty          bool      // the layers are others; a frame is due
	frameTook, responseTook float64   // milliseconds
	frames, responses       []float64 // all of them but the first, which compiles
}

// openWindow shows the scene until the window is closed.
func openWindow(ctx context.Context, e *env, device, path string, s *scene) (err error) {
	if err := glfw.Init(); err != nil {
		return badInputf("no window can be opened: %v", err)
	}
	defer glfw.Terminate()
	if !glfw.VulkanSupported() {
		return badInputf("no window can be opened: there is no display, or GLFW finds no Vulkan loader (Debian: libvulkan1)")
	}
	glfw.WindowHint(glfw.ClientAPI, glfw.NoAPI)
	rows, columns := s.photo.Shape[2], s.photo.Shape[3]
	scale := min(1284/float64(2*columns), 640/float64(rows))
	glass, err := glfw.CreateWindow(int(2*scale*float64(columns))+36, int(scale*float64(rows))+24+wordsHigh, "convbench view "+path, nil, nil)
	if err != nil {
		return badInputf("no window can be opened: %v", err)
	}
	defer glass.Destroy()
	w := &window{s: s, glass: glass, changed: true, dirty: true}
	if w.engine, err = vkconv.Open(vkconv.Options{Device: device}); err != nil {
		return badInput(err)
	}
	defer func() { err = e.shut(err, w.engine) }()
	// The response is computed on any device, the CPU even; frames need Vulkan.
	options := gpu.Options{Device: device, Surface: glass.GetRequiredInstanceExtensions()}
	if !w.engine.OnGPU() {
		options.Device = best()
	}
	if w.device, err = gpu.Open(options); err != nil {
		return badInputf("the window cannot be drawn: %v", err)
	}
	defer func() { err = w.shut(e, err) }()
	if w.screen, err = w.device.NewWindow(func(instance any) (uintptr, error) { return glass.CreateWindowSurface(instance, nil) }); err != nil {
		return err
	}
	if err := w.prepare(); err != nil {
		return err
	}
	w.listen()
	fmt.Fprintf(e.stdout, "%s: %d×%d pixels in a window; responses on %s, frames on %s; escape ends\n", path, columns, rows, w.engine.Name(), w.device.Info().Name)
	for !glass.ShouldClose() && ctx.Err() == nil {
		if !w.dirty {
			glfw.WaitEventsTimeout(0.2)
		} else {
			glfw.PollEvents()
		}
		if !w.dirty {
			continue
		}
		w.dirty = false
		if err := w.draw(ctx); err != nil {
			return err
		}
	}
	if len(w.frames) > 0 && len(w.responses) > 0 {
		fmt.Fprintf(e.stdout, "%s of %d×%d pixels, median %.1f ms; %s, median %.1f ms\n", plural(len(w.frames), "frame"), w.width, w.height,
			median(w.frames), plural(len(w.responses), "response"), median(w.responses))
	}
	return ctx.Err()
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// best is the index of the Vulkan device that would be chosen if the CPU had not
// been asked for, "" where there is none.
func best() string {
	infos, _ := gpu.Devices(gpu.Options{}) // Open will say why there are none
	found := ""
	kind := gpu.Other
	for _, i := range infos {
		if i.Unusable == "" && (found == "" || i.Type < kind) {
			found, kind = fmt.Sprint(i.Index), i.Type
		}
	}
	return found
}

// shut gives everything back; err is what went wrong before.
func (w *window) shut(e *env, err error) error {
	if w.screen != nil {
		if closing := w.screen.Close(); err == nil {
			err = closing
		}
	}
	for _, b := range []*gpu.Buffer{w.photo, w.response, w.marks, w.tiles, w.words, w.frame} {
		b.Free()
	}
	if closing := w.device.Close(); err == nil {
		err = closing
	}
	for _, message := range w.device.Messages() {
		e.complain(fmt.Errorf("validation: %s", message))
		if err == nil {
			err = &failure{status: statusWrong}
		}
	}
	return err
}

// prepare makes the pipeline and uploads the photograph.
func (w *window) prepare() error {
	m, err := shaders.Get("view")
	if err != nil {
		return err
	}
	size, err := m.ConstantID("localSizeX")
	if err != nil {
		return err
	}
	w.pipe, err = w.device.Pipeline(&gpu.Module{Name: m.Name, Code: m.Code, Bindings: len(m.Bindings), PushBytes: m.PushBytes}, []gpu.Constant{{ID: size, Value: lanes}})
	if err != nil {
		return err
	}
	return w.upload(&w.photo, packed(w.s.photo.Pix))
}

// lanes is a workgroup's size, which every device allows: 8×8 pixels.
const lanes = 64

// packed are planes of brightness as words 0xAABBGGRR.
func packed(pix []float32) []byte {
	plane := len(pix) / 3
	out := make([]byte, 4*plane)
	for i := range plane {
		for c := range 3 {
			out[4*i+c] = uint8(min(max(pix[c*plane+i], 0), 1)*255 + 0.5)
		}
		out[4*i+3] = 255
	}
	return out
}

// upload puts data into a buffer, which grows if it has to.
func (w *window) upload(b **gpu.Buffer, data []byte) (err error) {
	if *b == nil || (*b).Size() < int64(len(data)) {
		(*b).Free()
		if *b, err = w.device.NewBuffer(int64(len(data)) * 3 / 2 / 4 * 4); err != nil {
			return err
		}
	}
	return w.device.Upload(*b, 0, data)
}

// listen takes the pointer and the keys.
func (w *window) listen() {
	w.glass.SetCursorPosCallback(func(glass *glfw.Window, x, y float64) {
		wide, high := glass.GetSize()
		if wide == 0 || high == 0 {
			return
		}
		p := w.s.arrange(w.width, w.height, wordsHigh)
		x, y = x*float64(w.width)/float64(wide), y*float64(w.height)/float64(high)
		left := p.left
		if x >= p.right {
			left = p.right
		}
		if w.s.point((y-p.top)/p.scale, (x-left)/p.scale) {
			w.dirty = true
		}
	})
	w.glass.SetKeyCallback(func(glass *glfw.Window, key glfw.Key, _ int, action glfw.Action, _ glfw.ModifierKey) {
		if action == glfw.Release {
			return
		}
		names := map[glfw.Key]string{glfw.KeyUp: keyUp, glfw.KeyDown: keyDown, glfw.KeyLeft: keyLeft, glfw.KeyRight: keyRight, glfw.KeySpace: keySpace,
			glfw.Key1: "1", glfw.Key2: "2", glfw.Key3: "3", glfw.KeyK: "k", glfw.KeyS: "s", glfw.KeyD: "d"}
		if key == glfw.KeyEscape || key == glfw.KeyQ {
			glass.SetShouldClose(true)
		} else if w.s.press(names[key]) {
			w.changed, w.dirty = true, true
		}
	})
	w.glass.SetRefreshCallback(func(*glfw.Window) { w.dirty = true })
	w.glass.SetFramebufferSizeCallback(func(*glfw.Window, int, int) { w.width, w.dirty = 0, true })
}

// resize fits frames to the window; they are 0 pixels wide while it is minimised.
func (w *window) resize() (err error) {
	wide, high := w.glass.GetFramebufferSize()
	if w.width, w.height, w.blue, err = w.screen.Resize(wide, high); err != nil || w.width == 0 {
		return err
	}
	w.frame.Free()
	w.frame, err = w.device.NewBuffer(4 * int64(w.width) * int64(w.height))
	return err
}

// draw makes one frame of the scene and shows it.
func (w *window) draw(ctx context.Context) error {
	begin := time.Now()
	if w.width == 0 {
		if err := w.resize(); err != nil || w.width == 0 {
			return err
		}
	}
	if w.changed {
		if err := w.s.sample(); err != nil {
			return err
		}
	}
	if w.response == nil { // the first frame does not wait for the first response, which may have to compile shaders
		w.dirty = true
		if err := w.upload(&w.response, make([]byte, 4*len(w.s.photo.Pix)/3)); err != nil {
			return err
		}
	} else if w.changed {
		w.changed = false
		if err := w.s.respond(ctx, w.engine); err != nil {
			return err
		}
		if err := w.upload(&w.response, packed(w.s.response)); err != nil {
			return err
		}
		if w.responseTook > 0 {
			w.responses = append(w.responses, time.Since(begin).Seconds()*1000)
		}
		w.responseTook = time.Since(begin).Seconds() * 1000
		begin = time.Now()
	}
	p := w.s.arrange(w.width, w.height, wordsHigh)
	marks := w.s.marks(p)
	if err := w.upload(&w.marks, bytesOf(marks)); err != nil {
		return err
	}
	if err := w.upload(&w.tiles, bytesOf(tiles(marks, w.width, w.height))); err != nil {
		return err
	}
	if err := w.upload(&w.words, w.text(w.height-p.wordsTop)); err != nil {
		return err
	}
	if err := w.dispatch(ctx, p); err != nil {
		return err
	}
	if w.frameTook > 0 {
		w.frames = append(w.frames, time.Since(begin).Seconds()*1000)
	}
	w.frameTook = time.Since(begin).Seconds() * 1000 // without the response and the wait for the screen
	err := w.screen.Show(w.frame)
	if errors.Is(err, gpu.ErrStale) {
		w.width, w.dirty, err = 0, true, nil
	}
	return err
}

// bytesOf are values as the shader reads them.
func bytesOf[T any](values []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&values[0])), len(values)*int(unsafe.Sizeof(values[0])))
}

// text draws the words.
func (w *window) text(high int) []byte {
	r := vis.NewRaster(float64(w.width), float64(high), 1)
	r.Rect(0, 0, float64(w.width), float64(high), vis.Night, "")
	words := w.s.words(w.frameTook, w.responseTook, w.engine.Name())
	r.Text(14, 22, words[0], vis.TextStyle{Size: 15, Color: vis.Paper})
	r.Text(14, 44, words[1], vis.TextStyle{Size: 12, Color: vis.Hair})
	keys := "↑↓ rate   ←→ strength   1 2 3 layers   k kernel   s size   d deformation   space hold"
	if vis.TextWidth(words[1], vis.TextStyle{Size: 12})+vis.TextWidth(keys, vis.TextStyle{Size: 12})+60 < float64(w.width) {
		r.Text(float64(w.width)-14, 44, keys, vis.TextStyle{Size: 12, Color: vis.Hair, Anchor: 1})
	}
	return r.Pix.Pix
}

// dispatch draws the frame and waits for it.
func (w *window) dispatch(ctx context.Context, p place) error {
	blue := uint32(0)
	if w.blue {
		blue = 1
	}
	var push []byte
	for _, v := range []uint32{uint32(w.width), uint32(w.height), uint32(w.s.photo.Shape[2]), uint32(w.s.photo.Shape[3]), math.Float32bits(float32(p.scale)),
		math.Float32bits(float32(p.top)), math.Float32bits(float32(p.left)), math.Float32bits(float32(p.right)), math.Float32bits(0.35), uint32(p.wordsTop), blue} {
		push = binary.NativeEndian.AppendUint32(push, v)
	}
	s, err := w.device.NewStream()
	if err != nil {
		return err
	}
	defer s.Discard()
	var bindings []gpu.Binding
	for _, b := range []*gpu.Buffer{w.photo, w.response, w.marks, w.tiles, w.words} {
		bindings = append(bindings, gpu.Binding{Buffer: b, Access: gpu.Read})
	}
	bindings = append(bindings, gpu.Binding{Buffer: w.frame, Access: gpu.Write})
	groups := [3]uint32{uint32(w.width+7) / 8, uint32(w.height+lanes/8-1) / (lanes / 8), 1}
	if err := s.Dispatch(w.pipe, groups, push, bindings); err != nil {
		return err
	}
	done, err := s.Submit()
	if err != nil {
		return err
	}
	return done.Wait(ctx)
}
