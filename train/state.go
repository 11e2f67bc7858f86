package train

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"vkconv"
	"vkconv/conv"
	"vkconv/tensorio"
)

// UseSGD trains by stochastic gradient descent from the next step on.
func (n *Net) UseSGD(o conv.SGD) error {
	return n.use(func(p *Param) ([]string, func(ctx context.Context, rate float64, t int) error, error) {
		l, err := n.engine.NewSGD(p.Value.Shape(), o)
		if err != nil {
			return nil, nil, err
		}
		n.close = append(n.close, l.Close)
		return []string{"momentum_buffer"}, func(ctx context.Context, rate float64, _ int) error {
			return l.Run(ctx, p.Value, p.state["momentum_buffer"], p.Grad, rate)
		}, nil
	})
}

// UseAdam trains by Adam from the next step on.
func (n *Net) UseAdam(o conv.Adam) error {
	return n.use(func(p *Param) ([]string, func(ctx context.Context, rate float64, t int) error, error) {
		l, err := n.engine.NewAdam(p.Value.Shape(), o)
		if err != nil {
			return nil, nil, err
		}
		n.close = append(n.close, l.Close)
		return []string{"exp_avg", "exp_avg_sq"}, func(ctx context.Context, rate float64, t int) error {
			return l.Run(ctx, p.Value, p.state["exp_avg"], p.state["exp_avg_sq"], p.Grad, rate, t)
		}, nil
	})
}

// use gives every parameter an optimizer, its state zeros, and counts steps anew.
func (n *Net) use(plan func(p *Param) (state []string, step func(ctx context.Context, rate float64, t int) error, err error)) error {
	n.steps = 0
	for _, p := range n.params {
		if p.Grad == nil {
			continue
		}
		state, step, err := plan(p)
		if err != nil {
			return err
		}
		p.state, p.step = map[string]*vkconv.Tensor{}, step
		for _, name := range state {
			t, err := n.newTensor(p.Value.Shape())
			if err != nil {
				return err
			}
			if err := t.Upload(make([]float32, t.Shape().Len())); err != nil {
				return err
			}
			p.state[name] = t
		}
	}
	return nil
}

// tensors are what State holds, by name, with the shapes that files give them.
func (n *Net) tensors(optimizer bool, f func(name string, shape []int, t *vkconv.Tensor) error) error {
	for _, p := range n.params {
		if err := f(p.Name, p.Shape, p.Value); err != nil {
			return err
		}
		for name, t := range p.state {
			if optimizer {
				if err := f("optimizer."+name+"."+p.Name, p.Shape, t); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// State returns the parameters by name, and with optimizer the optimizer's state
// and the number of steps besides: all that training goes on from.
func (n *Net) State(ctx context.Context, optimizer bool) (map[string]tensorio.Array, error) {
	out := map[string]tensorio.Array{}
	err := n.tensors(optimizer, func(name string, shape []int, t *vkconv.Tensor) error {
		data := make([]float32, t.Shape().Len())
		out[name] = tensorio.Array{Shape: shape, Data: data}
		return t.Download(ctx, data)
	})
	if optimizer {
		out["optimizer.steps"] = tensorio.Array{Shape: []int{1}, Data: []int64{int64(n.steps)}}
	}
	return out, err
}

// SetState is the inverse of [Net.State]. Every parameter must be there, in its
// shape, and with optimizer its state; what else there is is not looked at, such as
// PyTorch's num_batches_tracked. Where something is missing or of another shape
// ([conv.ErrShape]), the net stays as it was.
func (n *Net) SetState(state map[string]tensorio.Array, optimizer bool) error {
	type upload struct {
		to   *vkconv.Tensor
		data []float32
	}
	var uploads []upload
	err := n.tensors(optimizer, func(name string, shape []int, t *vkconv.Tensor) error {
		a, ok := state[name]
		if !ok {
			return fmt.Errorf("%w: there is no %s", conv.ErrShape, name)
		}
		data, err := a.Float32()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if fmt.Sprint(a.Shape) != fmt.Sprint(shape) {
			return fmt.Errorf("%w: %s is %v, must be %v", conv.ErrShape, name, a.Shape, shape)
		}
		uploads = append(uploads, upload{t, data})
		return nil
	})
	if err != nil {
		return err
	}
	if optimizer {
		steps, err := state["optimizer.steps"].Ints()
		if err != nil || len(steps) != 1 || steps[0] < 0 {
			return fmt.Errorf("%w: optimizer.steps is %v, must be one number from 0 on", conv.ErrShape, steps)
		}
		n.steps = steps[0]
	}
	for _, u := range uploads {
		if err := u.to.Upload(u.data); err != nil {
			return err
		}
	}
	return n.refresh()
}

// Save writes the parameters to a file, .npz or .safetensors by its name.
func (n *Net) Save(ctx context.Context, path string) error {
	state, err := n.State(ctx, false)
	if err != nil {
		return err
	}
	switch strings.ToLower(filepath.Ext(path)) {
	case ".npz":
		return tensorio.WriteNPZ(path, state)
	case ".safetensors":
		return tensorio.WriteSafetensors(path, state, nil)
	}
	return fmt.Errorf("%w: %s must end in .npz or .safetensors", conv.ErrParams, path)
}

// Load reads the parameters from a file, .npz or .safetensors by its name.
func (n *Net) Load(path string) error {
	var state map[string]tensorio.Array
	var err error
	switch strings.ToLower(filepath.Ext(path)) {
	case ".npz":
		state, err = tensorio.ReadNPZ(path)
	case ".safetensors":
		state, err = tensorio.ReadSafetensors(path)
	default:
		err = fmt.Errorf("%w: %s must end in .npz or .safetensors", conv.ErrParams, path)
	}
	if err != nil {
		return err
	}
	return n.SetState(state, false)
}
