//go:build cgo && window

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"vkconv/vis"
)

// The test runs itself as the command, in a process whose first thread is free
// for the window.
func TestMain(m *testing.M) {
	if os.Getenv("CONVBENCH_AS_COMMAND") != "" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// screen is a virtual X server whose picture can be read.
type screen struct {
	t       *testing.T
	display string
	file    string
}

// newScreen starts one; without the programs for it the test is skipped, unless
// drivers are required, as they are in CI.
func newScreen(t *testing.T) *screen {
	t.Helper()
	for _, program := range []string{"Xvfb", "xdotool"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("VKCONV_REQUIRE") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	dir := t.TempDir()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	server := exec.Command("Xvfb", "-displayfd", "3", "-screen", "0", "1400x760x24", "-fbdir", dir, "-nolisten", "tcp")
	server.ExtraFiles = []*os.File{write}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	write.Close()
	number, err := bufio.NewReader(read).ReadString('\n')
	if err != nil {
		t.Fatalf("Xvfb did not start: %v", err)
	}
	return &screen{t, ":" + strings.TrimSpace(number), filepath.Join(dir, "Xvfb_screen0")}
}

// picture reads what is on the screen: an XWD file of 32-bit pixels, blue first.
func (s *screen) picture() *image.NRGBA {
	s.t.Helper()
	b, err := os.ReadFile(s.file)
	if err != nil {
		s.t.Fatal(err)
	}
	word := func(i int) int { return int(binary.BigEndian.Uint32(b[4*i:])) }
	header, width, height, stride, colors := word(0), word(4), word(5), word(12), word(19)
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			p := b[header+12*colors+y*stride+4*x:]
			m.SetNRGBA(x, y, color.NRGBA{p[2], p[1], p[0], 255})
		}
	}
	return m
}

// await looks at the screen until it shows what it should.
func (s *screen) await(what string, ok func(m *image.NRGBA) bool) *image.NRGBA {
	s.t.Helper()
	for end := time.Now().Add(90 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		m := s.picture()
		if ok(m) {
			return m
		}
		if time.Now().After(end) {
			var b bytes.Buffer
			png.Encode(&b, m)
			file := filepath.Join(os.TempDir(), "convbench-view-failed.png")
			os.WriteFile(file, b.Bytes(), 0o666)
			s.t.Fatalf("the screen never showed %s; what it shows is in %s", what, file)
		}
	}
}

// do moves the pointer or presses keys.
func (s *screen) do(args ...string) {
	s.t.Helper()
	c := exec.Command("xdotool", args...)
	c.Env = append(os.Environ(), "DISPLAY="+s.display)
	if out, err := c.CombinedOutput(); err != nil {
		s.t.Fatalf("xdotool %v: %v: %s", args, err, out)
	}
}

// The photograph is one colour with a lighter square, so that its edges can be
// found on the screen and its gradient be seen in the response.
const photoWide, photoHigh = 64, 48

func flatPhoto(t *testing.T) string {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, photoWide, photoHigh))
	for i := range photoWide * photoHigh {
		m.SetNRGBA(i%photoWide, i/photoWide, color.NRGBA{60, 60, 200, 255})
	}
	for i := range 100 {
		m.SetNRGBA(50+i%10, 4+i/10, color.NRGBA{60, 60, 220, 255})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "flat.png")
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func isPhoto(c color.NRGBA) bool {
	return c.B > 115 && c.B < 150 && c.R > 30 && c.R < 48 && c.G > 30 && c.G < 48
}

// edges finds the photograph on the screen.
func edges(m *image.NRGBA) (r image.Rectangle) {
	for y := range m.Rect.Dy() {
		for x := range m.Rect.Dx() {
			if isPhoto(m.NRGBAAt(x, y)) {
				r = r.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	return r
}

// In a real window, under a virtual X server, points and output follow the
// pointer, and keys change what they are for.
func TestWindow(t *testing.T) {
	s := newScreen(t)
	c := exec.Command(os.Args[0], "view", flatPhoto(t), "-deform", "none", "-layers", "1", "-rate", "4", "-kernel", "sobel-x")
	c.Env = append(os.Environ(), "CONVBENCH_AS_COMMAND=1", "DISPLAY="+s.display, "WAYLAND_DISPLAY=", "XDG_SESSION_TYPE=x11")
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	t.Cleanup(func() { c.Process.Kill() })

	var photo image.Rectangle
	var scale float64
	first := s.await("the photograph", func(m *image.NRGBA) bool {
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v: %s", err, &said)
		default:
		}
		photo = edges(m)
		scale = float64(photo.Dx()) / photoWide
		return photo.Dx() > 10*photoWide/2 && photo.Dy() > 10*photoHigh/2
	})
	if high := float64(photo.Dy()) / photoHigh; high < scale-0.1 || high > scale+0.1 {
		t.Fatalf("a pixel of the photograph is %g×%g on the screen", scale, high)
	}
	onScreen := func(row, column float64) (x, y int) {
		return photo.Min.X + int((column+0.5)*scale), photo.Min.Y + int((row+0.5)*scale)
	}
	sample := vis.Glow(0.6)
	near := func(a, b color.NRGBA) bool {
		d := func(x, y uint8) int { return max(int(x)-int(y), int(y)-int(x)) }
		return d(a.R, b.R) < 6 && d(a.G, b.G) < 6 && d(a.B, b.B) < 6
	}
	// samples tells whether exactly these are sampled: along both axes at rate
	// pixels from the output, but none at the places of other rates.
	samples := func(m *image.NRGBA, row, column, rate int) bool {
		for dy := -6; dy <= 6; dy++ {
			for dx := -6; dx <= 6; dx++ {
				x, y := onScreen(float64(row+dy), float64(column+dx))
				want := (dy == 0 || dy == rate || dy == -rate) && (dx == 0 || dx == rate || dx == -rate)
				if near(m.NRGBAAt(x, y), sample) != want {
					return false
				}
			}
		}
		return true
	}
	point := func(row, column float64) {
		x, y := onScreen(row, column)
		s.do("mousemove", strconv.Itoa(x), strconv.Itoa(y))
	}
	s.await("the middle's samples before the pointer comes", func(m *image.NRGBA) bool { return samples(m, photoHigh/2, photoWide/2, 4) })
	for _, at := range [][2]int{{30, 20}, {12, 40}, {25, 9}} {
		point(float64(at[0]), float64(at[1]))
		s.await(fmt.Sprintf("samples about row %d, column %d", at[0], at[1]), func(m *image.NRGBA) bool { return samples(m, at[0], at[1], 4) })
	}
	// The response is of what edges the square has, in the other picture.
	right := image.Rect(photo.Max.X+4, photo.Min.Y, photo.Max.X+4+photo.Dx(), photo.Max.Y)
	bright := func(m *image.NRGBA) (n int) {
		for y := right.Min.Y; y < right.Max.Y; y++ {
			for x := right.Min.X; x < right.Max.X; x++ {
				if c := m.NRGBAAt(x, y); c.B > 15 && c.B > c.R+10 {
					n++
				}
			}
		}
		return n
	}
	before := s.await("the response", func(m *image.NRGBA) bool { return bright(m) > 100 })
	s.do("key", "Up")
	s.await("samples at rate 5", func(m *image.NRGBA) bool { return samples(m, 25, 9, 5) })
	s.do("key", "Down")
	s.do("key", "Down")
	s.await("samples at rate 3", func(m *image.NRGBA) bool { return samples(m, 25, 9, 3) })
	s.await("another response", func(m *image.NRGBA) bool { return bright(m) != bright(before) })
	// Held, the output stays; two layers read 25 places, three rates apart.
	s.do("key", "space")
	point(12, 40)
	s.do("key", "2")
	s.await("25 samples", func(m *image.NRGBA) bool {
		n := 0
		for dy := -6; dy <= 6; dy++ {
			for dx := -6; dx <= 6; dx++ {
				// Colours tell numbers of ways here; all have more red than the photograph.
				if c := m.NRGBAAt(onScreen(float64(25+dy), float64(9+dx))); c.R > 120 {
					n++
				}
			}
		}
		return n == 25
	})
	if file := os.Getenv("VKCONV_SCREENSHOT"); file != "" {
		var b bytes.Buffer
		if err := png.Encode(&b, s.picture().SubImage(image.Rect(0, 0, 1320, 640))); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if last := s.picture(); bytes.Equal(last.Pix, first.Pix) {
		t.Error("nothing changed")
	}
	s.do("key", "Escape")
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("%v: %s", err, &said)
		}
	case <-time.After(30 * time.Second):
		t.Error("escape did not end it")
	}
	if !regexp.MustCompile(`\d+ frames of \d+×\d+ pixels, median [\d.]+ ms; \d+ responses?, median`).Match(said.Bytes()) {
		t.Errorf("no times in %s", &said)
	}
	if strings.Contains(said.String(), "validation:") {
		t.Errorf("%s", &said)
	}
	t.Logf("%s", &said)
}

// Without a display the command says so and is at fault for nothing.
func TestNoDisplay(t *testing.T) {
	c := exec.Command(os.Args[0], "view", flatPhoto(t))
	c.Env = append(os.Environ(), "CONVBENCH_AS_COMMAND=1", "DISPLAY=", "WAYLAND_DISPLAY=")
	out, err := c.CombinedOutput()
	if status := c.ProcessState.ExitCode(); status != statusBadInput || !strings.Contains(string(out), "no window can be opened") {
		t.Errorf("%v: %s", err, out)
	}
}
