package bench

import (
	"context"
	"fmt"

	"vkconv"
)

// MeasureRoofs measures the peaks of the engines that are to be measured, and
// returns them by the engine's name.
func (b *Bench) MeasureRoofs(ctx context.Context) (map[string]vkconv.Roofline, error) {
	roofs := map[string]vkconv.Roofline{}
	for _, e := range []*vkconv.Engine{b.GPU, b.CPU} {
		if e == nil {
			continue
		}
		r, err := e.Roofline(ctx)
		if err != nil {
			return nil, fmt.Errorf("the roofline of %s: %w", e.Name(), err)
		}
		roofs[e.Name()] = r
	}
	return roofs, nil
}

// Limit tells what share of its device's roofline a row reached and by which of
// the two sides it is limited, "41% of FMA" or "73% of memory"; "–" where the
// report has no roofline of the device.
func (r Report) Limit(row Row) string {
	roof, ok := r.Roofs[row.Device]
	if !ok || !roof.Known() {
		return "–"
	}
	side := "FMA"
	if _, memory := roof.Least(row.FLOPs, row.Bytes); memory {
		side = "memory"
	}
	return percent(roof.Share(row.FLOPs, row.Bytes, row.DeviceStats().Median)) + " of " + side
}

// share is what WriteCSV has of it, "" where it is not known.
func (r Report) share(row Row) string {
	roof, ok := r.Roofs[row.Device]
	if !ok || !roof.Known() {
		return ""
	}
	return fmt.Sprintf("%.4g", roof.Share(row.FLOPs, row.Bytes, row.DeviceStats().Median))
}

// percent writes a share.
func percent(share float64) string {
	if share < 0.0995 {
		return fmt.Sprintf("%.1f%%", 100*share)
	}
	return fmt.Sprintf("%.0f%%", 100*share)
}

// RoofLine says a roofline in a line.
func RoofLine(r vkconv.Roofline) string {
	if !r.Known() {
		return "not measured"
	}
	return fmt.Sprintf("%s GFLOP/s, %s GB/s, which meet at %s FLOP a byte", significant(r.Float32/1e9), significant(r.Memory/1e9), significant(r.Float32/r.Memory))
}
