package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"vkconv"
)

// reportVersion is that of the JSON form; another is refused.
const reportVersion = 1

// Report is a run's results in a form that is kept and compared.
type Report struct {
	Version int       `json:"version"`
	Time    time.Time `json:"time"`
	Go      string    `json:"go"`   // Go's version, system and architecture
	Code    string    `json:"code"` // commit, where the build knows it
	CPU     string    `json:"cpu"`  // the processor's name, where the system tells
	Cores   int       `json:"cores"`
	Seed    uint64    `json:"seed"`
	Offsets string    `json:"offsets"` // how the offsets of deformable layers are distributed
	Rows    []Row     `json:"rows"`
	// Roofs are the devices' peaks by name, where they were measured.
	Roofs map[string]vkconv.Roofline `json:"roofs,omitempty"`
}

// Row is what one device did with one case. Times are in nanoseconds.
type Row struct {
	Set        string `json:"set"`
	Name       string `json:"name"`
	Pass       string `json:"pass"` // "forward", "backward", or the gradients that were asked for
	Kind       string `json:"kind"` // "conv", "deform v1", "deform v2", "dcnv4", "chain"
	Shape      string `json:"shape"`
	Descriptor string `json:"descriptor,omitempty"` // benchdnn's, dilation from 0
	Times      int    `json:"times"`                // how often the network has such a layer
	Device     string `json:"device"`
	Driver     string `json:"driver"`
	Algorithm  string `json:"algorithm"`

	FLOPs       int64   `json:"flops"`        // of one run; sampling is not counted
	Bytes       int64   `json:"bytes"`        // every tensor read or written once
	Outside     float64 `json:"outside"`      // share of samples that miss the image
	Worst       float64 `json:"worst"`        // largest error as a share of its bound
	Every       int     `json:"every"`        // one in this many elements was compared
	DeviceNS    []int64 `json:"device_ns"`    // of every repetition, between two timestamps on the device
	WallNS      []int64 `json:"wall_ns"`      // of every repetition, from the call to the end of waiting
	PlanNS      int64   `json:"plan_ns"`      // choosing, packing weights, building pipelines
	UploadNS    int64   `json:"upload_ns"`    // median, all operands but weights
	DownloadNS  int64   `json:"download_ns"`  // median, all results
	UploadLen   int64   `json:"upload_len"`   // bytes
	DownloadLen int64   `json:"download_len"` // bytes
}

// Rows makes rows of a result, the GPU's first.
func (r Result) Rows() (rows []Row) {
	for _, m := range []*Measured{r.GPU, r.CPU} {
		if m == nil {
			continue
		}
		row := Row{
			Set: r.Case.Set, Name: r.Case.Name, Pass: r.Case.Pass(), Kind: r.Case.Kind(), Shape: r.Shape, Descriptor: r.Case.Descriptor(),
			Times: max(r.Case.Times, 1), Device: m.Engine, Driver: m.Driver, Algorithm: m.Describe,
			FLOPs: r.Cost.FLOPs(), Bytes: r.Cost.Bytes, Outside: r.Outside, Worst: m.Worst, Every: m.Every,
			PlanNS: int64(m.Plan), UploadNS: int64(m.Upload.Median), DownloadNS: int64(m.Download.Median),
			UploadLen: m.UploadBytes, DownloadLen: m.DownloadBytes,
		}
		for i := range m.Devices {
			row.DeviceNS, row.WallNS = append(row.DeviceNS, int64(m.Devices[i])), append(row.WallNS, int64(m.Walls[i]))
		}
		rows = append(rows, row)
	}
	return rows
}

// Pass names what is measured of the case.
func (c Case) Pass() string {
	switch {
	case !c.Backward:
		return "forward"
	case c.Wanted == nil:
		return "backward"
	}
	return strings.Join(c.Wanted, "+")
}

// Kind names the operator.
func (c Case) Kind() string {
	if len(c.Layers) != 1 {
		return "chain"
	}
	switch l := c.Layers[0]; {
	case l.DCN != nil:
		return "dcnv4"
	case l.Deform == nil:
		return "conv"
	case l.Deform.Mask:
		return "deform v2"
	}
	return "deform v1"
}

// key tells rows of two reports that measure the same from others.
func (r Row) key() string {
	return strings.Join([]string{r.Set, r.Name, r.Kind, r.Pass, r.Shape}, "\x00")
}

// Title is a row's name for people.
func (r Row) Title() string { return strings.TrimSpace(r.Set + " " + r.Name) }

// Device and Wall sum up a row's times.
func (r Row) DeviceStats() Stats { return statsOf(r.DeviceNS) }
func (r Row) WallStats() Stats   { return statsOf(r.WallNS) }

func statsOf(ns []int64) Stats {
	if len(ns) == 0 {
		return Stats{}
	}
	times := make([]time.Duration, len(ns))
	for i, n := range ns {
		times[i] = time.Duration(n)
	}
	return NewStats(times)
}

// GFLOPs and GBs are the rates at the given time of one run.
func (r Row) GFLOPs(t time.Duration) float64 { return float64(r.FLOPs) / max(float64(t), 1) }
func (r Row) GBs(t time.Duration) float64    { return float64(r.Bytes) / max(float64(t), 1) }

// WriteJSON writes the report as ReadReport reads it.
func (r Report) WriteJSON(w io.Writer) error {
	r.Version = reportVersion
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(r)
}

// ReadReport reads what WriteJSON wrote.
func ReadReport(from io.Reader) (Report, error) {
	var r Report
	if err := json.NewDecoder(from).Decode(&r); err != nil {
		return r, fmt.Errorf("no report of convbench: %w", err)
	}
	if r.Version != reportVersion {
		return r, fmt.Errorf("report is of version %d, must be %d", r.Version, reportVersion)
	}
	for _, row := range r.Rows {
		if len(row.DeviceNS) == 0 || len(row.DeviceNS) != len(row.WallNS) {
			return r, fmt.Errorf("%s has %d device times and %d wall times, must have as many of both and at least one", row.Title(), len(row.DeviceNS), len(row.WallNS))
		}
	}
	return r, nil
}
