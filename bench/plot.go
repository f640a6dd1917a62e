package main

import (
	"errors"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// plot draws how many issues and exchanges a second there were in each round, as boxes over a logarithmic scale.
func (b *bench) plot(path string) (err error) {
	var panels [][]*plot.Plot
	for _, verb := range []string{"issue", "exchange"} {
		p := plot.New()
		p.Title.Text = verb + ", 64 callers, a second"
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
		var names []string
		for _, c := range b.told {
			rates := b.results.each(named(verb, 64), c.name, (*turn).rate)
			if len(rates) == 0 {
				continue
			}
			box, err := plotter.NewBoxPlot(vg.Points(12), float64(len(names)), plotter.Values(rates))
			if err != nil {
				return err
			}
			box.Horizontal = true
			p.Add(box)
			names = append(names, c.name)
		}
		if len(names) == 0 {
			return nil // the section was not run
		}
		p.NominalY(names...)
		panels = append(panels, []*plot.Plot{p})
	}
	canvas := vgsvg.New(18*vg.Centimeter, 16*vg.Centimeter)
	tiles := draw.Tiles{Rows: len(panels), Cols: 1, PadY: vg.Centimeter}
	for i, row := range plot.Align(panels, tiles, draw.New(canvas)) {
		panels[i][0].Draw(row[0])
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = canvas.WriteTo(file)
	return errors.Join(err, file.Close())
}
