package bench

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"vkconv/conv"
	"vkconv/convtest"
)

func known(err error) bool {
	return errors.Is(err, conv.ErrParams) || errors.Is(err, conv.ErrShape) || errors.Is(err, conv.ErrUnsupported)
}

// What is accepted is a problem that package conv accepts, of the sizes that the text names.
func FuzzDescriptor(f *testing.F) {
	f.Add(`g1mb2ic256ih33oc256kh3ph12dh11n"aspp"`)
	f.Add("ic3iw224oc64kw7sw2pw3ow112")
	f.Add("mb1_ic3id1ih5iw5_oc4kd1kh3kw3_n")
	f.Add("ic9223372036854775807ih1oc1kh1")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseDescriptor(text)
		if err != nil {
			if !known(err) {
				t.Errorf("%q: %v is of no kind that the docs name", text, err)
			}
			return
		}
		problems, err := c.Problems()
		if err != nil {
			if !known(err) {
				t.Errorf("%q: %v is of no kind that the docs name", text, err)
			}
			return
		}
		for _, p := range problems {
			for name, s := range map[string]conv.Shape{"x": p.Input(), "weight": p.Weight(), "y": p.Output()} {
				if err := s.Check(name); err != nil {
					t.Errorf("%q: %v", text, err)
				}
			}
		}
	})
}

// A batch file never reads another that was not asked for, and gives no more cases than it has words.
func FuzzBatch(f *testing.F) {
	f.Add("--dir=FWD_B\n--mb=2 ic4ih5oc4kh3 # comment\n--reset ic4ih5oc4kh3\n")
	f.Add("--deform=1 --og=2\nic4ih9oc4kh3ph1\n--batch=other")
	f.Fuzz(func(t *testing.T, text string) {
		cases, err := parseBatch(strings.NewReader(text), "fuzz", Knobs{}, func(string, Knobs) ([]Case, error) { return nil, nil })
		if err == nil && len(cases) > len(strings.Fields(text)) {
			t.Errorf("%d cases of %q", len(cases), text)
		}
	})
}

// What is read can be worked out and written again.
func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"Version":1,"Rows":[{"Layer":"a","DeviceNS":[1,2],"WallNS":[3,4]}]}`))
	f.Add([]byte(`{"Version":1,"Rows":[{"Layer":"a","DeviceNS":[],"WallNS":[]}]}`))
	var text strings.Builder
	if err := (Report{}).WriteJSON(&text); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(text.String()))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Report
		var err error
		convtest.Bounded(t, data, 1000, 1<<20, func() { r, err = ReadReport(bytes.NewReader(data)) })
		if err != nil {
			return
		}
		r.WriteTable(io.Discard, nil)
		if err := errors.Join(r.WriteCSV(io.Discard), r.WriteGo(io.Discard)); err != nil {
			t.Error(err)
		}
		var again strings.Builder
		if err := r.WriteJSON(&again); err != nil {
			t.Fatal(err)
		}
		back, err := ReadReport(strings.NewReader(again.String()))
		if err != nil || len(back.Rows) != len(r.Rows) {
			t.Errorf("written again it reads as %d rows, %v", len(back.Rows), err)
		}
	})
}
