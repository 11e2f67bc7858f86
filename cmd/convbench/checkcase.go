package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"vkconv"
	"vkconv/conv"
	"vkconv/tensorio"
)

// checker runs cases and remembers what came out.
type checker struct {
	e         *env
	gpu, cpu  *vkconv.Engine
	out       string
	backward  bool
	width     int // of the column of names
	worst     float64
	begun     bool                // the heading is there
	gradients int                 // arrays compared
	reasons   []string            // why something was not compared
	left      map[string][]string // and for each reason what

	cases, withGradients, wrong, bad int
}

func checkFiles(ctx context.Context, e *env, device, out string, backward bool, args []string) (err error) {
	files, named, err := caseFiles(args)
	if err != nil {
		return badInput(err)
	}
	if err := prepareOut(out, files); err != nil {
		return badInput(err)
	}
	gpu, cpu, why, err := engines(device)
	if err != nil {
		return err
	}
	defer func() { err = e.shut(err, gpu, cpu) }()
	introduce(e, gpu, cpu, why)
	k := checker{e: e, gpu: gpu, cpu: cpu, out: out, backward: backward, width: 4, left: map[string][]string{}}
	for _, f := range files {
		k.width = max(k.width, len([]rune(strings.TrimSuffix(filepath.Base(f), ".npz"))))
	}
	for i, f := range files {
		e.progress("%d of %d: %s", i+1, len(files), f)
		c, err := tensorio.ReadCase(f)
		switch {
		case i >= named && errors.Is(err, conv.ErrUnsupported):
			_, why, _ := strings.Cut(err.Error(), ": ")
			k.leave(why, strings.TrimSuffix(filepath.Base(f), ".npz"))
			continue
		case err != nil:
			k.bad++
			e.complain(err)
			continue
		}
		if err := k.check(ctx, c); err != nil {
			return err
		}
	}
	e.progress("")
	k.conclude()
	switch {
	case k.wrong > 0:
		return &failure{status: statusWrong}
	case k.bad > 0:
		return &failure{status: statusBadInput}
	}
	return nil
}

// leave notes what was not compared.
func (k *checker) leave(why, name string) {
	if k.left[why] == nil {
		k.reasons = append(k.reasons, why)
	}
	k.left[why] = append(k.left[why], name)
}

// conclude sums up.
func (k *checker) conclude() {
	if k.cases == 0 && k.reasons == nil {
		return
	}
	fmt.Fprintf(k.e.stdout, "\n%s\n", verdict(k.cases, k.wrong, k.worst))
	if k.gradients > 0 {
		fmt.Fprintf(k.e.stdout, "Gradients of %s, %s in all.\n", plural(k.withGradients, "case"), plural(k.gradients, "array"))
	}
	for _, why := range k.reasons {
		fmt.Fprintf(k.e.stdout, "Not compared: %s.\n", wrap(strings.Join(k.left[why], ", ")+": "+why, 85, "    "))
	}
}

func (k *checker) line(name, kind, shape, gpu, cpu, note string) {
	k.e.progress("")
	fmt.Fprintln(k.e.stdout, strings.TrimRight(fmt.Sprintf("%-*s  %-10s  %-26s  %6s  %6s  %s", k.width, name, kind, shape, gpu, cpu, note), " "))
}

// most is the most elements that a case may compute: beyond it, the oracle's
// answers alone take gigabytes.
const most = 1 << 27

// check runs one case. It returns an error only where there is no point in
// going on.
func (k *checker) check(ctx context.Context, c tensorio.Case) error {
	if c.Output().Len() > most {
		k.bad++
		k.e.complain(fmt.Errorf("%s: output is %v, more than the %d elements that are checked", c.Path, c.Output(), most))
		return nil
	}
	op := subjectOf(c, k.backward)
	expected := expectedOf(c)
	right := op.oracle()
	notes := k.notes(c, right, expected)
	var problems []string // sentences about what is wrong
	shares := [2]string{"–", "–"}
	var result map[string][]float32
	for i, engine := range []*vkconv.Engine{k.gpu, k.cpu} {
		if engine == nil {
			continue
		}
		got, err := op.compute(ctx, engine)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			shares[i] = "FAILED"
			problems = append(problems, fmt.Sprintf("%s: %v", engine.Name(), err))
			continue
		}
		if result == nil {
			result = got
		}
		worst, wrong := compareArrays(got, right, expected, c.Tolerance)
		shares[i] = share(worst)
		if wrong == nil {
			k.worst = max(k.worst, worst)
		}
		for _, w := range wrong {
			problems = append(problems, engine.Name()+": "+w)
		}
	}
	problems = append(problems, oracleOff(right, expected, c.Tolerance)...)
	if against := againstOracle(right, expected); against != "" {
		notes = append(notes, "against the oracle: "+against)
	}
	if len(problems) > 0 {
		k.wrong++
		notes = append([]string{"WRONG"}, notes...)
	}
	k.count(right)
	k.row(c.Name, op, shares, notes)
	for _, p := range problems {
		fmt.Fprintf(k.e.stdout, "    %s\n", p)
	}
	return k.write(c, right, result)
}

// notes says what of a case is left aside.
func (k *checker) notes(c tensorio.Case, right []answer, expected map[string][]float64) (notes []string) {
	var idle []string // what the file expects in vain
	for _, name := range inOrder(expected) {
		if !slices.ContainsFunc(right, func(w answer) bool { return w.name == name }) {
			idle = append(idle, name)
		}
	}
	switch {
	case idle == nil || !k.backward:
	case c.HasBackward():
		k.leave("they are not computed", strings.Join(idle, " and ")+" of "+c.Name)
		notes = append(notes, "not compared: "+strings.Join(idle, ", "))
	default:
		k.leave("the file has no dy", strings.Join(idle, " and ")+" of "+c.Name)
		notes = append(notes, "no dy")
	}
	if len(c.Ignored) > 0 {
		notes = append(notes, "ignored: "+strings.Join(c.Ignored, ", "))
	}
	return notes
}

// count counts a case whose arrays were compared.
func (k *checker) count(right []answer) {
	k.cases++
	before := k.gradients
	for _, w := range right {
		if isGradient(w.name) {
			k.gradients++
		}
	}
	if k.gradients > before {
		k.withGradients++
	}
}

// row writes a case's line, the first below a heading.
func (k *checker) row(name string, op subject, shares [2]string, notes []string) {
	if !k.begun {
		k.begun = true
		fmt.Fprintln(k.e.stdout)
		k.line("case", "kind", "shape", "gpu", "cpu", "")
	}
	k.line(name, op.kind(), op.describe(), shares[0], shares[1], strings.Join(notes, "; "))
}

// write saves what was computed.
func (k *checker) write(c tensorio.Case, right []answer, result map[string][]float32) error {
	if k.out == "" || result == nil {
		return nil
	}
	arrays := map[string]tensorio.Array{}
	for _, w := range right {
		arrays[w.name] = tensorio.Array{Shape: w.shape, Data: result[w.name]}
	}
	return badInput(tensorio.WriteNPZ(filepath.Join(k.out, filepath.Base(c.Path)), arrays))
}
