package conv

import (
	"errors"
	"fmt"
)

// The kinds of refusal. Every error of this package matches exactly one of
// them under errors.Is, and says in one sentence which argument was wrong, what
// it was and what is allowed.
var (
	// ErrParams: a stride, padding, dilation or group count no convolution can have.
	ErrParams = errors.New("invalid convolution parameters")
	// ErrShape: tensors whose shapes do not fit each other or the parameters.
	ErrShape = errors.New("shapes do not fit")
	// ErrUnsupported: a meaningful request that this library does not serve.
	ErrUnsupported = errors.New("not supported")
)

// refusal is a sentence of a given kind.
type refusal struct {
	kind error
	text string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kind }

func refuse(kind error, format string, args ...any) error {
	return &refusal{kind, fmt.Sprintf(format, args...)}
}
