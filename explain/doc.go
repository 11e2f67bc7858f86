// Package explain says what a stack of convolutions sees: output sizes, the
// receptive field layer by layer, which pixels of it are read how often, what
// it costs, and what else would see as far.
//
// A stack is written as text, see [Parse], or known by name, see [Known]. It
// may hold parallel branches, as atrous spatial pyramid pooling does. Counts of
// reads follow the convolutions: shortcuts of residual networks are left out.
package explain

import (
	"errors"
	"fmt"
)

// ErrText is matched by errors about a text that describes no stack.
var ErrText = errors.New("no stack of layers")

// refusal is a sentence of a given kind.
type refusal struct {
	kind error
	text string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kind }

func refuse(format string, args ...any) error {
	return &refusal{ErrText, fmt.Sprintf(format, args...)}
}
