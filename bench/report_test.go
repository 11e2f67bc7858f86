package bench

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/perf/benchfmt"

	"vkconv"
	"vkconv/conv"
)

// reports returns one of two layers whose times are those given.
func reports(first, second []int64) Report {
	row := func(name string, ns []int64) Row {
		return Row{Set: "resnet50", Name: name, Pass: "forward", Kind: "conv", Shape: "64×56×56 → 64", Times: 2, Device: "a GPU", Driver: "its driver",
			FLOPs: 3e6, Bytes: 1e6, Worst: 0.25, Every: 1, DeviceNS: ns, WallNS: ns, PlanNS: 5e6, UploadNS: 2e5}
	}
	return Report{CPU: "a processor", Cores: 2, Rows: []Row{row("conv2 3×3", first), row("conv3, first", second)}}
}

func ns(around int64, n int) (v []int64) {
	for i := range n {
		v = append(v, around+int64(i%5))
	}
	return v
}

func TestCompare(t *testing.T) {
	old := reports(ns(1000, 10), ns(2000, 10))
	for _, c := range []struct {
		new            Report
		slower, faster int
		says           string
	}{
		{reports(ns(1000, 10), ns(2000, 10)), 0, 0, "2 compared, 0 slower"},
		{reports(ns(1200, 10), ns(2000, 10)), 1, 0, "+20.0%"},
		{reports(ns(1020, 10), ns(2000, 10)), 0, 0, "+2.0%"}, // believed, but below the threshold
		{reports(ns(900, 10), ns(2000, 10)), 0, 1, "faster"},
		{reports(ns(1200, 1), ns(2000, 10)), 0, 0, "0.182"}, // too few to believe
		{reports([]int64{500, 1700, 800, 1500, 1001, 2100, 950, 1400, 700, 1600}, ns(2000, 10)), 0, 0, "~"},
	} {
		got := Compare(old, c.new, Gate{})
		faster := 0
		for _, ch := range got.Changes {
			if ch.Faster {
				faster++
			}
		}
		var out bytes.Buffer
		if err := got.Write(&out); err != nil {
			t.Fatal(err)
		}
		if got.Slower() != c.slower || faster != c.faster || !strings.Contains(out.String(), c.says) {
			t.Errorf("%d slower, %d faster, want %d, %d and %q:\n%s", got.Slower(), faster, c.slower, c.faster, c.says, &out)
		}
	}
	other := reports(ns(1000, 10), ns(2000, 10))
	other.Rows[1].Name, other.Rows[0].Device, other.Cores = "conv9", "another GPU", 3
	var out bytes.Buffer
	c := Compare(old, other, Gate{})
	if err := c.Write(&out); err != nil {
		t.Fatal(err)
	}
	for _, says := range []string{"1 compared", "other devices: a GPU (its driver) before, another GPU", "2 cores before", "Only in the old report: resnet50 conv3, first", "Only in the new report: resnet50 conv9"} {
		if !strings.Contains(out.String(), says) {
			t.Errorf("does not say %q:\n%s", says, &out)
		}
	}
}

func TestReportForms(t *testing.T) {
	r := reports([]int64{1000, 2000, 4000}, ns(2000, 10))
	var text bytes.Buffer
	if err := r.WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	again, err := ReadReport(bytes.NewReader(text.Bytes()))
	if err != nil || len(again.Rows) != 2 || again.Rows[0].Name != "conv2 3×3" || again.Rows[0].WallStats() != r.Rows[0].WallStats() {
		t.Errorf("%+v, %v", again, err)
	}
	for bad, says := range map[string]string{"": "no report", "{}": "version 0", `{"version":1,"rows":[{"name":"x"}]}`: "0 device times"} {
		if _, err := ReadReport(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", bad, err, says)
		}
	}

	text.Reset()
	if err := r.WriteCSV(&text); err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(&text).ReadAll()
	if err != nil || len(records) != 3 {
		t.Fatalf("%v, %v", records, err)
	}
	cell := func(name string) string {
		for i, head := range records[0] {
			if head == name {
				return records[1][i]
			}
		}
		return "no such column"
	}
	for name, want := range map[string]string{"device_ms": "0.002", "device_p95_ms": "0.0038", "gflop_per_s": "1500", "gb_per_s": "500", "upload_ms": "0.2", "plan_ms": "5", "runs": "3"} {
		if cell(name) != want {
			t.Errorf("%s is %s, want %s", name, cell(name), want)
		}
	}

	text.Reset()
	if err := r.WriteGo(&text); err != nil {
		t.Fatal(err)
	}
	lines := 0
	for in := benchfmt.NewReader(&text, "test"); in.Scan(); {
		switch rec := in.Result().(type) {
		case *benchfmt.Result:
			lines++
			rate, _ := rec.Value("GFLOP/s")
			if lines == 1 && (rate != 3000 || string(rec.Name.Full()) != "Conv/pass=forward/set=resnet50/layer=conv2_3x3" || rec.GetConfig("device") != "a GPU") {
				t.Errorf("%s, %g GFLOP/s, device %q", rec.Name, rate, rec.GetConfig("device"))
			}
		case *benchfmt.UnitMetadata:
			if rec.Value != "higher" {
				t.Errorf("%+v", rec)
			}
		default:
			t.Errorf("%v", rec)
		}
	}
	if lines != 13 {
		t.Errorf("%d lines, want 13", lines)
	}

	text.Reset()
	r.WriteTable(&text, func(Row) string { return "41% of FMA" })
	want := []string{"resnet50, forward, on a GPU", "  conv2 3×3 (×2)     64×56×56 → 64        0.002  0.004  38%  0.002  0.200      –   5.00    1500   500   0.250 41% of FMA"}
	got := strings.Split(text.String(), "\n")
	if len(got) < 4 || got[2] != want[0] || got[3] != want[1] {
		t.Errorf("table is\n%s", &text)
	}
}

// conv2's row has 1500 GFLOP/s and 500 GB/s in 2 µs.
func TestReportShares(t *testing.T) {
	r := reports([]int64{1000, 2000, 4000}, ns(2000, 10))
	row := r.Rows[0]
	cell := func() string {
		var text bytes.Buffer
		if err := r.WriteCSV(&text); err != nil {
			t.Fatal(err)
		}
		records, err := csv.NewReader(&text).ReadAll()
		if err != nil || records[0][len(records[0])-1] != "roofline_share" {
			t.Fatalf("%v, %v", records, err)
		}
		return records[1][len(records[1])-1]
	}
	if got := r.Limit(row); got != "–" || cell() != "" {
		t.Errorf("without a roofline the share is %q, %q", got, cell())
	}
	for _, c := range []struct {
		roof        vkconv.Roofline
		limit, cell string
	}{
		{vkconv.Roofline{Float32: 2e12, Memory: 2e12}, "75% of FMA", "0.75"},
		{vkconv.Roofline{Float32: 2e13, Memory: 2e12}, "25% of memory", "0.25"},
		{vkconv.Roofline{Float32: 1e14, Memory: 1e14}, "1.5% of FMA", "0.015"},
	} {
		r.Roofs = map[string]vkconv.Roofline{row.Device: c.roof}
		if got := r.Limit(row); got != c.limit || cell() != c.cell {
			t.Errorf("%+v: the share is %q, %q, want %q, %q", c.roof, got, cell(), c.limit, c.cell)
		}
	}
	var text bytes.Buffer
	if err := r.WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	if again, err := ReadReport(&text); err != nil || again.Roofs[row.Device] != r.Roofs[row.Device] {
		t.Errorf("read back: %+v, %v", again.Roofs, err)
	}
}

// Every pass and kind on every engine, the copies too; and a wrong oracle noticed.
func TestKindsAndSamples(t *testing.T) {
	b := engines(t)
	b.Copies, b.Terms, b.Spread, b.Warmup = true, 20000, 0.5, time.Microsecond
	b.Offsets = &Offsets{Sigma: 1, Outside: 0.3}
	plain := Layer{Weight: conv.Shape{8, 6, 3, 3}, Params: conv.Params{Padding: conv.Pad(1)}, Bias: true}
	deform := plain
	deform.Deform = &conv.Deform{OffsetGroups: 2, Mask: true}
	x := conv.Shape{1, 6, 12, 12}
	for _, c := range []Case{
		{Name: "conv", Input: x, Layers: []Layer{plain}},
		{Name: "deform", Input: x, Layers: []Layer{deform}},
		{Name: "dx", Input: x, Layers: []Layer{plain}, Backward: true, Wanted: []string{"dx"}},
		{Name: "all", Input: x, Layers: []Layer{deform}, Backward: true},
		{Name: "dcnv4", Input: conv.Shape{1, 32, 9, 9}, Layers: []Layer{{DCN: &conv.DCNParams{Padding: conv.Pad(1), Groups: 2}}}},
		{Name: "dcnv4 backward", Input: conv.Shape{1, 32, 9, 9}, Layers: []Layer{{DCN: &conv.DCNParams{Padding: conv.Pad(1), Groups: 2}}}, Backward: true},
	} {
		r, err := b.Run(context.Background(), c)
		if err != nil {
			t.Error(err)
			continue
		}
		rows := r.Rows()
		if want := 1 + map[bool]int{true: 1}[b.GPU != nil]; len(rows) != want {
			t.Errorf("%s: %d rows, want %d", c.Name, len(rows), want)
		}
		for _, row := range rows {
			if row.Worst <= 0 || row.Worst > 1 || row.UploadNS <= 0 || row.DownloadNS <= 0 || row.PlanNS <= 0 || row.UploadLen <= 0 || row.FLOPs <= 0 || row.Bytes <= 0 {
				t.Errorf("%s: %+v", c.Name, row)
			}
			if sampled := row.Kind != "dcnv4"; sampled != (row.Every > 1) {
				t.Errorf("%s compares one element in %d", c.Name, row.Every)
			}
			if row.Kind == "deform v2" && (row.Outside < 0.25 || row.Outside > 0.5) {
				t.Errorf("%s: a share %g outside", c.Name, row.Outside)
			}
		}
	}
	c := Case{Name: "conv", Input: x, Layers: []Layer{plain}}
	problems, err := c.Problems()
	if err != nil {
		t.Fatal(err)
	}
	chain := makeData(problems, false, 1, nil, 20000)
	_, err = b.measure(context.Background(), b.CPU, c, func(e *vkconv.Engine) (subject, error) {
		defer func() { chain[0].bias[0]++ }() // behind the engine's back, once it has the biases
		return newNet(e, c, []data{chain[0]})
	})
	if !errors.Is(err, ErrMismatch) {
		t.Errorf("a wrong bias in one of eight channels: %v", err)
	}
}

// Offsets are what they are asked to be.
func TestOffsets(t *testing.T) {
	p, err := conv.Params{Padding: conv.Pad(1)}.DeformProblem(conv.Deform{}, conv.Shape{1, 2, 40, 40}, conv.Shape{2, 2, 3, 3}, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []Offsets{{}, {Sigma: 1}, {Outside: 0.5}, {Outside: 1, Sigma: 3}} {
		d := makeData([]conv.Problem{p}, false, 1, &o, 0)[0]
		square := 0.0
		for _, v := range d.offset {
			square += float64(v) * float64(v)
		}
		if variance := square / float64(len(d.offset)); o.Outside == 0 && (variance < 0.97*o.Sigma*o.Sigma || variance > 1.03*o.Sigma*o.Sigma) {
			t.Errorf("%v: variance %g", o, variance)
		}
		// A ring of the padded image misses it at any rate: 1 − (38.7/40)² of the taps.
		if share := outside(p, d.offset); share < o.Outside-0.02 || share > o.Outside+0.06 && o.Sigma < 2 {
			t.Errorf("%v: a share %g outside", o, share)
		}
	}
	for _, s := range []string{"x", "-1", "NaN", "1e9"} {
		if _, err := ParseOffsets(s); !errors.Is(err, conv.ErrParams) {
			t.Errorf("%q: %v", s, err)
		}
	}
	b := Bench{Offsets: &Offsets{Outside: 2}}
	if _, err := b.Run(context.Background(), small()); !errors.Is(err, conv.ErrParams) {
		t.Error(err)
	}
}
