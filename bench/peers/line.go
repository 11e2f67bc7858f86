package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// linePeer is another library's program that stays running, takes one layer a
// line and answers with its time, see ncnn/peer.cpp, ggml/peer.cpp, burn and line_peer.py. So a layer is
// measured here and there one right after the other.
type linePeer struct {
	name, about string
	json        bool // a layer is a JSON object, not numbers; all kinds of layers
	cmd         *exec.Cmd
	in          io.WriteCloser
	out         *bufio.Scanner
}

// answer is what such a program writes, a line of JSON: about itself first,
// then one for every layer.
type answer struct {
	About  string
	Median float64 `json:"median_ms"`
	Direct float64 `json:"direct_ms"` // without Winograd
	Way    string
	Error  string // why there is none
}

// startPeer starts a command with the device's name, "cpu" for processor time and "backward" for gradients. json tells how
// it takes a layer.
func startPeer(name, command string, json bool, s *settings) (*linePeer, error) {
	args := append(strings.Fields(command), s.device)
	if s.clock == processor {
		args = append(args, "cpu")
	}
	if s.backward {
		args = append(args, "backward")
	}
	return (&linePeer{name: name, json: json, cmd: exec.Command(args[0], args[1:]...)}).start()
}

// startPython starts a script beside this file with the command that runs Python.
func startPython(name, python, script string, arguments []string) (*linePeer, error) {
	args := append(strings.Fields(python), filepath.Join("bench", "peers", script))
	args = append(args, arguments...)
	return (&linePeer{name: name, json: true, cmd: exec.Command(args[0], args[1:]...)}).start()
}

func (p *linePeer) start() (_ *linePeer, err error) {
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if os.Getenv("VKCONV_PEERS_LOG") != "" { // what it says besides
		p.cmd.Stderr = os.Stderr
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	p.out = bufio.NewScanner(out)
	about, err := p.read()
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.about = about.About
	return p, nil
}

// time measures a layer for about so many seconds.
func (p *linePeer) time(l layer, seconds float64) (answer, error) {
	if p.json {
		text, err := json.Marshal(struct {
			layer
			Seconds float64
		}{l, seconds})
		if err != nil {
			return answer{}, err
		}
		if _, err := fmt.Fprintf(p.in, "%s\n", text); err != nil {
			return answer{}, fmt.Errorf("%s: %w", p.name, err)
		}
		return p.read()
	}
	if l.OG > 0 {
		return answer{Error: "not there"}, nil
	}
	if _, err := fmt.Fprintln(p.in, seconds, l.N, l.C, l.H, l.W, l.K, l.R, l.S, l.Stride, l.Pad, l.Dilation, l.Groups); err != nil {
		return answer{}, fmt.Errorf("%s: %w", p.name, err)
	}
	return p.read()
}

func (p *linePeer) read() (a answer, err error) {
	for p.out.Scan() {
		if !strings.HasPrefix(p.out.Text(), "{") { // what the library itself prints
			continue
		}
		if err := json.Unmarshal(p.out.Bytes(), &a); err != nil {
			return a, fmt.Errorf("%s wrote %q: %w", p.name, p.out.Text(), err)
		}
		return a, nil
	}
	if err = p.out.Err(); err == nil {
		err = io.ErrUnexpectedEOF
	}
	return a, fmt.Errorf("%s: %w; it may have crashed, VKCONV_PEERS_LOG=1 shows what it says", p.name, err)
}

func (p *linePeer) close() error {
	p.in.Close()
	return p.cmd.Wait()
}
