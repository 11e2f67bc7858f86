package main

import (
	"context"
	"flag"
	"fmt"

	"vkconv"
	"vkconv/train/learn"
	"vkconv/vis"
)

// runNet draws what a trained network samples.
func (s *show) runNet(ctx context.Context, e *env, flags *flag.FlagSet) (err error) {
	taken := map[string]bool{"net": true, "o": true, "plain": true, "device": true}
	flags.Visit(func(f *flag.Flag) {
		if !taken[f.Name] && err == nil {
			err = badInputf("-%s does not go with -net: the network has layers and offsets of its own, and looks at the whole picture", f.Name)
		}
	})
	if err != nil {
		return err
	}
	photo, err := s.open()
	if err != nil {
		return badInput(err)
	}
	engine, err := vkconv.Open(vkconv.Options{Device: s.device})
	if err != nil {
		return badInput(err)
	}
	defer func() { err = e.shut(err, engine) }()
	net, err := learn.Load(engine, s.net)
	if err != nil {
		return badInput(err)
	}
	defer net.Close()
	seen, err := net.See(ctx, photo)
	if err != nil {
		return badInput(err)
	}
	best := 0
	for c, share := range seen.Shares {
		if share > seen.Shares[best] {
			best = c
		}
	}
	levels := []vis.Level{seen.Level}
	points := vis.Points{Picture: photo.Picture(), Levels: levels, Cells: seen.Cells, Outputs: [][2]int{{0, 0}}, Arrows: !s.plain,
		Title: fmt.Sprintf("The network sees class %s, %.1f %% sure", net.Names[best], 100*seen.Shares[best]),
		Note:  fmt.Sprintf("where it samples the picture: the offsets of %s", s.net)}
	far, mean := displacement(points.Spots([2]int{}))
	fmt.Fprintf(e.stdout, "%s: %d×%d pixels, class %s, %.1f %% sure\n", s.image, photo.Shape[3], photo.Shape[2], net.Names[best], 100*seen.Shares[best])
	fmt.Fprintf(e.stdout, "%s of %d lie on its map, displaced by %.1f pixels on average, %.1f at most\n", plural(len(vis.Trace(levels, 0, 0)), "sample"), seen.Level.Taps(), mean, far)
	return s.write(e, points)
}
