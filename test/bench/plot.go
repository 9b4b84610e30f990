// The plot: an SVG written by hand, readable on light and on dark paper.

package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
)

const plotStyle = `<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 }
.small { font-size: 11px }
.grid { stroke: #d0d7de }
.bar { stroke: #8c959f; stroke-width: 3 }
.dot { fill: #57606a }
.ours { stroke: #0969da; fill: #0969da }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.grid { stroke: #30363d }
.bar { stroke: #6e7681 }
.dot { fill: #9198a1 }
.ours { stroke: #4493f8; fill: #4493f8 }
}
</style>
`

// canvas is what is drawn so far, down to y, on a logarithmic scale of milliseconds.
type canvas struct {
	bytes.Buffer
	y         int
	low, high float64 // powers of ten
}

const plotLeft, plotWidth, plotRight, rowHeight = 230, 400, 60, 22

func (c *canvas) x(ms float64) float64 {
	return plotLeft + plotWidth*(math.Log10(ms)-c.low)/(c.high-c.low)
}

// section begins a part with so many rows, and returns where the first is.
func (c *canvas) section(title string, rows int) (top int) {
	c.y += 24
	fmt.Fprintf(c, "<text class=\"title\" x=\"8\" y=\"%d\">%s</text>\n", c.y, html.EscapeString(title))
	top = c.y + 8
	bottom := top + rowHeight*rows
	for _, tick := range []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000} {
		if at := c.x(tick); math.Log10(tick) >= c.low && math.Log10(tick) <= c.high {
			fmt.Fprintf(c, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>", at, at, top, bottom)
			fmt.Fprintf(c, "<text class=\"small\" text-anchor=\"middle\" x=\"%.1f\" y=\"%d\">%g</text>\n", at, bottom+14, tick)
		}
	}
	c.y = bottom + 22
	return top
}

// row draws a median, and from where to where the others lie.
func (c *canvas) row(middle int, ours bool, low, p50, high float64) {
	class := ""
	if ours {
		class = " ours"
	}
	fmt.Fprintf(c, "<line class=\"bar%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>", class, c.x(low), c.x(high), middle, middle)
	fmt.Fprintf(c, "<circle class=\"dot%s\" cx=\"%.1f\" cy=\"%d\" r=\"4.5\"/>", class, c.x(p50), middle)
	fmt.Fprintf(c, "<text class=\"small\" x=\"%.1f\" y=\"%d\">%.1f</text>\n", c.x(high)+8, middle+4, p50)
}

func (c *canvas) label(text string, middle int) {
	fmt.Fprintf(c, "<text text-anchor=\"end\" x=\"%d\" y=\"%d\">%s</text>", plotLeft-8, middle+4, html.EscapeString(text))
}

// plot shows the spaced times of J and J0, and how J0's grow.
func (f *report) plot() []byte {
	lines := map[string][]line{}
	low, high := math.Inf(1), 0.0
	for _, l := range f.Times {
		if l.Mode == "spaced" {
			lines[l.Job] = append(lines[l.Job], l)
			low, high = min(low, l.Min), max(high, l.P90)
		}
	}
	for _, g := range f.Growth {
		low, high = min(low, g.Limit), max(high, g.Contain)
	}
	c := &canvas{low: math.Log10(low * 0.9), high: math.Log10(high * 1.1)}
	for _, job := range []struct{ name, title string }{{"J", "with a veth on a bridge (J)"}, {"J0", "with loopback only (J0)"}} {
		if len(lines[job.name]) == 0 {
			continue
		}
		top := c.section("/bin/true, "+job.title+": ms, least to p90, dot: median", len(lines[job.name]))
		for i, l := range lines[job.name] {
			middle := top + i*rowHeight + rowHeight/2
			c.label(l.Tool, middle)
			c.row(middle, l.Tool == "contain", l.Min, l.P50, l.P90)
		}
	}
	if len(f.Growth) > 0 {
		top := c.section("J0 with more and more there: medians of limit and of contain, ms", len(f.Growth))
		for i, g := range f.Growth {
			middle := top + i*rowHeight + rowHeight/2
			c.label(g.Condition, middle)
			c.row(middle, false, g.Limit, g.Limit, g.Limit)
			c.row(middle, true, g.Contain, g.Contain, g.Contain)
		}
	}
	fmt.Fprintf(c, "<text class=\"small\" x=\"8\" y=\"%d\">Linux %s, %s, %v apart; make bench</text>\n", c.y+8, html.EscapeString(f.Kernel), html.EscapeString(f.Processor), space)

	var all bytes.Buffer
	fmt.Fprintf(&all, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %[1]d %[2]d\">\n%s", plotLeft+plotWidth+plotRight, c.y+18, plotStyle)
	all.Write(c.Bytes())
	all.WriteString("</svg>\n")
	return all.Bytes()
}
