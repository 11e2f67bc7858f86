package onnx

import (
	"fmt"
	"strings"

	"vkconv/conv"
)

// missing collects what a model has and this package has not, each once, in the
// order in which the model has it.
type missing struct {
	what  []string
	first map[string]string // the first node that has it
	count map[string]int
}

func (m *missing) add(what, node string) {
	if m.count == nil {
		m.first, m.count = map[string]string{}, map[string]int{}
	}
	if m.count[what]++; m.count[what] == 1 {
		m.what = append(m.what, what)
		m.first[what] = node
	}
}

// operator notes a whole operator.
func (m *missing) operator(op string, n *node) { m.add("operator "+op, fmt.Sprintf("%.60q", n.name)) }

// of notes a part of one.
func (m *missing) of(n *node, format string, args ...any) {
	m.add(fmt.Sprintf("%s with %s", n.op, fmt.Sprintf(format, args...)), fmt.Sprintf("%.60q", n.name))
}

// err is one sentence that names all of it; the error matches [conv.ErrUnsupported].
func (m *missing) err() error {
	if len(m.what) == 0 {
		return nil
	}
	var parts []string
	for _, what := range m.what {
		text := fmt.Sprintf("%s (%s", what, m.first[what])
		if n := m.count[what]; n > 1 {
			text += fmt.Sprintf(" and %d more", n-1)
		}
		parts = append(parts, text+")")
	}
	return &refusal{conv.ErrUnsupported, "uses what is not here: " + strings.Join(parts, "; ")}
}
