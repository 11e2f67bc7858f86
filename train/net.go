package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"vkconv"
	"vkconv/conv"
)

// Param is what a layer learns, or with Grad nil only keeps: running moments.
type Param struct {
	Name  string
	Shape []int // PyTorch's
	Value *vkconv.Tensor
	Grad  *vkconv.Tensor
	// Rate scales the learning rate, as mmcv's lr_mult; 1 as made.
	Rate float64

	step  func(ctx context.Context, rate float64, t int) error
	state map[string]*vkconv.Tensor // the optimizer's, by its name in files
}

// layer is a layer of a chain, with its tensors made.
type layer interface {
	// forward queues the layer's output.
	forward(ctx context.Context, training bool) error
	// backward queues the gradients by the parameters and, if it has one, by the input.
	backward(ctx context.Context) error
	// refresh takes the parameters as they are now.
	refresh() error
}

// Net is a chain of layers with a loss at its end.
type Net struct {
	engine *vkconv.Engine
	input  *vkconv.Tensor
	output *vkconv.Tensor
	scores *vkconv.Tensor // the gradient by it
	layers []layer
	params []*Param
	named  map[string]*Param
	tensor map[string]*vkconv.Tensor // what [Net.Tensor] gives
	steps  int

	entropy     *vkconv.CrossEntropy
	class, loss *vkconv.Tensor
	close       []func()
	rng         *rand.Rand
}

// Layer adds a layer to a net that is being made.
type Layer func(b *builder) error

// builder makes a net: x is what the latest layer gives and dx the gradient by it,
// nil where nobody wants that.
type builder struct {
	*Net
	x, dx *vkconv.Tensor
}

// New makes a net for batches of images, N×C×H×W, on an engine; the last layer
// gives N×classes×1×1. Weights start as PyTorch's layers do, uniform within
// ±1/√(inputs of an output), drawn from the seed; those that predict offsets as zeros.
func New(e *vkconv.Engine, images conv.Shape, seed uint64, layers ...Layer) (*Net, error) {
	n := &Net{engine: e, named: map[string]*Param{}, tensor: map[string]*vkconv.Tensor{}, rng: rand.New(rand.NewPCG(seed, 0x7a11))}
	b := &builder{Net: n}
	err := b.make(images, layers)
	if err != nil {
		n.Close()
		return nil, err
	}
	return n, n.refresh()
}

func (b *builder) make(images conv.Shape, layers []Layer) (err error) {
	if b.x, err = b.newTensor(images); err != nil {
		return err
	}
	b.input = b.x
	for i, l := range layers {
		if err := l(b); err != nil {
			return fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	if b.output, b.scores = b.x, b.dx; b.scores == nil {
		return fmt.Errorf("%w: a net without layers", conv.ErrParams)
	}
	if b.entropy, err = b.engine.NewCrossEntropy(b.output.Shape()); err != nil {
		return err
	}
	if s := b.output.Shape(); s[2] != 1 || s[3] != 1 {
		return fmt.Errorf("%w: the last layer gives %v, must give one score a class, N×K×1×1", conv.ErrShape, s)
	}
	b.close = append(b.close, b.entropy.Close)
	for _, t := range []**vkconv.Tensor{&b.class, &b.loss} {
		if *t, err = b.newTensor(b.entropy.Problem().Places()); err != nil {
			return err
		}
	}
	return nil
}

// newTensor makes a tensor that lives as long as the net.
func (n *Net) newTensor(s conv.Shape) (*vkconv.Tensor, error) {
	t, err := n.engine.NewTensor(s)
	if err == nil {
		n.close = append(n.close, t.Free)
	}
	return t, err
}

// param adds a parameter; start says what it holds at first.
func (n *Net) param(name string, learned bool, torch []int, s conv.Shape, start func(i int) float32) (*Param, error) {
	if n.named[name] != nil {
		return nil, fmt.Errorf("%w: two parameters are called %s", conv.ErrParams, name)
	}
	p := &Param{Name: name, Shape: torch, Rate: 1}
	var err error
	if p.Value, err = n.newTensor(s); err != nil {
		return nil, err
	}
	data := make([]float32, s.Len())
	for i := range data {
		data[i] = start(i)
	}
	if err := p.Value.Upload(data); err != nil {
		return nil, err
	}
	if learned {
		if p.Grad, err = n.newTensor(s); err != nil {
			return nil, err
		}
	}
	n.params, n.named[name] = append(n.params, p), p
	return p, nil
}

// uniform draws within ±1/√fan.
func (n *Net) uniform(fan int) func(int) float32 {
	bound := 1 / math.Sqrt(float64(fan))
	return func(int) float32 { return float32((2*n.rng.Float64() - 1) * bound) }
}

func constant(v float32) func(int) float32 { return func(int) float32 { return v } }

// Params returns what the net learns and keeps, in the order of its layers.
func (n *Net) Params() []*Param { return n.params }

// Param returns the parameter of that name, nil where there is none.
func (n *Net) Param(name string) *Param { return n.named[name] }

// Tensor returns a layer's output, by the layer's name, or of a deformable layer
// called name the latest offsets, "name.offset". nil where there is none.
func (n *Net) Tensor(name string) *vkconv.Tensor { return n.tensor[name] }

// Input returns the shape of the images.
func (n *Net) Input() conv.Shape { return n.input.Shape() }

// Steps returns how many steps the net has been trained.
func (n *Net) Steps() int { return n.steps }

// Close gives back what the net holds on the device.
func (n *Net) Close() {
	for i := len(n.close) - 1; i >= 0; i-- {
		n.close[i]()
	}
	n.close = nil
}

func (n *Net) refresh() error {
	for _, l := range n.layers {
		if err := l.refresh(); err != nil {
			return err
		}
	}
	return nil
}

// Result is what a batch gave.
type Result struct {
	Loss   float64   // the mean of the images' losses
	Scores []float32 // images × classes
	Right  int       // images whose highest score is their class's
}

// Step trains by a batch: images in the net's shape and their classes, at a
// learning rate. The result is that before the step.
func (n *Net) Step(ctx context.Context, images []float32, classes []int, rate float64) (Result, error) {
	if err := n.start(ctx, images, classes, true); err != nil {
		return Result{}, err
	}
	for i := len(n.layers) - 1; i >= 0; i-- {
		if err := n.layers[i].backward(ctx); err != nil {
			return Result{}, err
		}
	}
	for _, p := range n.params {
		switch {
		case p.Grad == nil:
			continue
		case p.step == nil:
			return Result{}, errors.New("train: the net has no optimizer: call Use first")
		}
		if err := p.step(ctx, rate*p.Rate, n.steps+1); err != nil {
			return Result{}, fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	n.steps++
	if err := n.refresh(); err != nil {
		return Result{}, err
	}
	return n.result(ctx, classes)
}

// Test runs the net as it is used behind training, normalizations with their
// running moments, and moves nothing.
func (n *Net) Test(ctx context.Context, images []float32, classes []int) (Result, error) {
	if err := n.start(ctx, images, classes, false); err != nil {
		return Result{}, err
	}
	return n.result(ctx, classes)
}

// start uploads a batch and queues the net and its loss.
func (n *Net) start(ctx context.Context, images []float32, classes []int, training bool) error {
	if want := n.input.Shape()[0]; len(classes) != want {
		return fmt.Errorf("%w: there are %d classes, must be %d, one an image", conv.ErrShape, len(classes), want)
	}
	numbers := make([]float32, len(classes))
	for i, c := range classes {
		if k := n.output.Shape()[1]; c < 0 || c >= k {
			return fmt.Errorf("%w: class of image %d is %d, must be between 0 and %d", conv.ErrParams, i, c, k-1)
		}
		numbers[i] = float32(c)
	}
	if err := errors.Join(n.input.Upload(images), n.class.Upload(numbers)); err != nil {
		return err
	}
	for _, l := range n.layers {
		if err := l.forward(ctx, training); err != nil {
			return err
		}
	}
	var dx *vkconv.Tensor
	if training {
		dx = n.scores
	}
	return n.entropy.Run(ctx, n.loss, dx, n.output, n.class)
}

func (n *Net) result(ctx context.Context, classes []int) (Result, error) {
	losses, k := make([]float32, len(classes)), n.output.Shape()[1]
	r := Result{Scores: make([]float32, n.output.Shape().Len())}
	if err := errors.Join(n.loss.Download(ctx, losses), n.output.Download(ctx, r.Scores)); err != nil {
		return Result{}, err
	}
	for i, l := range losses {
		r.Loss += float64(l) / float64(len(losses))
		best := 0
		for j, s := range r.Scores[i*k:][:k] {
			if s > r.Scores[i*k+best] {
				best = j
			}
		}
		if best == classes[i] {
			r.Right++
		}
	}
	return r, nil
}
