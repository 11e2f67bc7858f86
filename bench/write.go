package bench

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"time"

	"golang.org/x/perf/benchfmt"
)

// WriteCSV writes a row a line, times in milliseconds, under a heading.
func (r Report) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	c.Write([]string{"set", "name", "kind", "pass", "shape", "descriptor_dilation_from_0", "times", "device", "driver", "algorithm",
		"runs", "device_ms", "device_p95_ms", "device_spread", "wall_ms", "wall_p95_ms", "upload_ms", "download_ms", "plan_ms",
		"gflop_per_s", "gb_per_s", "flops", "bytes", "outside", "error_of_bound", "compared_one_in", "roofline_share"})
	ms := func(t time.Duration) string { return strconv.FormatFloat(float64(t)/1e6, 'g', 6, 64) }
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
	for _, row := range r.Rows {
		d, wall := row.DeviceStats(), row.WallStats()
		c.Write([]string{row.Set, row.Name, row.Kind, row.Pass, row.Shape, row.Descriptor, strconv.Itoa(row.Times), row.Device, row.Driver, row.Algorithm,
			strconv.Itoa(d.N), ms(d.Median), ms(d.P95), number(d.Spread()), ms(wall.Median), ms(wall.P95),
			ms(time.Duration(row.UploadNS)), ms(time.Duration(row.DownloadNS)), ms(time.Duration(row.PlanNS)),
			number(row.GFLOPs(d.Median)), number(row.GBs(d.Median)), strconv.FormatInt(row.FLOPs, 10), strconv.FormatInt(row.Bytes, 10),
			number(row.Outside), number(row.Worst), strconv.Itoa(row.Every), r.share(row)})
	}
	c.Flush()
	return c.Error()
}

// WriteGo writes every repetition as a line of Go's benchmark format, which
// benchstat reads: ns/op is the device's time, GFLOP/s and GB/s are at that.
func (r Report) WriteGo(w io.Writer) error {
	out := benchfmt.NewWriter(w)
	for _, unit := range []string{"GFLOP/s", "GB/s"} {
		m := &benchfmt.UnitMetadata{UnitMetadataKey: benchfmt.UnitMetadataKey{Unit: unit, Key: "better"}, OrigUnit: unit, Value: "higher"}
		if err := out.Write(m); err != nil {
			return err
		}
	}
	_, target, _ := strings.Cut(r.Go, " ")
	goos, goarch, _ := strings.Cut(target, "/")
	for _, row := range r.Rows {
		res := benchfmt.Result{Name: benchfmt.Name(row.goName()), Iters: 1}
		for _, c := range [][2]string{{"goos", goos}, {"goarch", goarch}, {"pkg", "vkconv/bench"}, {"cpu", r.CPU}, {"device", row.Device}, {"driver", row.Driver}} {
			if c[1] != "" {
				res.Config = append(res.Config, benchfmt.Config{Key: c[0], Value: []byte(c[1]), File: true})
			}
		}
		for i, ns := range row.DeviceNS {
			t := time.Duration(ns)
			res.Values = []benchfmt.Value{{Value: float64(ns), Unit: "ns/op"}, {Value: float64(row.WallNS[i]), Unit: "wall-ns"},
				{Value: row.GFLOPs(t), Unit: "GFLOP/s"}, {Value: row.GBs(t), Unit: "GB/s"}}
			if err := out.Write(&res); err != nil {
				return err
			}
		}
	}
	return nil
}

// goName is the row's benchmark name, without the word in front.
func (r Row) goName() string {
	word := func(s string) string {
		s = strings.NewReplacer("×", "x", ", ", "_", " ", "_", "/", "_").Replace(s)
		return strings.Map(func(c rune) rune {
			if c <= ' ' || c == '"' || c > '~' {
				return -1
			}
			return c
		}, s)
	}
	kind := map[string]string{"conv": "Conv", "deform v1": "DeformV1", "deform v2": "DeformV2", "dcnv4": "DCNv4", "chain": "Chain"}[r.Kind]
	name := kind + "/pass=" + word(r.Pass)
	if r.Set != "" {
		name += "/set=" + word(r.Set)
	}
	return name + "/layer=" + word(r.Name)
}
