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

// plot shows the spaced times of J and J0: from the least to p90, and a dot at p50, on
// a logarithmic scale.
func (f *report) plot() []byte {
	const left, width, right, rowHeight = 100, 480, 60, 22
	lines := map[string][]line{}
	low, high := math.Inf(1), 0.0
	for _, l := range f.Times {
		if l.Mode == "spaced" {
			lines[l.Job] = append(lines[l.Job], l)
			low, high = min(low, l.Min), max(high, l.P90)
		}
	}
	low, high = math.Log10(low*0.9), math.Log10(high*1.1)
	x := func(ms float64) float64 { return left + width*(math.Log10(ms)-low)/(high-low) }

	var body bytes.Buffer
	y := 0
	for _, job := range []struct{ name, title string }{{"J", "with a veth on a bridge (J)"}, {"J0", "with loopback only (J0)"}} {
		if len(lines[job.name]) == 0 {
			continue
		}
		y += 24
		fmt.Fprintf(&body, "<text class=\"title\" x=\"8\" y=\"%d\">/bin/true, %s: ms, least to p90, dot: median</text>\n", y, job.title)
		top := y + 8
		bottom := top + rowHeight*len(lines[job.name])
		for _, tick := range []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000} {
			if at := x(tick); math.Log10(tick) >= low && math.Log10(tick) <= high {
				fmt.Fprintf(&body, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>", at, at, top, bottom)
				fmt.Fprintf(&body, "<text class=\"small\" text-anchor=\"middle\" x=\"%.1f\" y=\"%d\">%g</text>\n", at, bottom+14, tick)
			}
		}
		for i, l := range lines[job.name] {
			ours, middle := "", top+i*rowHeight+rowHeight/2
			if l.Tool == "contain" {
				ours = " ours"
			}
			fmt.Fprintf(&body, "<text text-anchor=\"end\" x=\"%d\" y=\"%d\">%s</text>", left-8, middle+4, html.EscapeString(l.Tool))
			fmt.Fprintf(&body, "<line class=\"bar%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>", ours, x(l.Min), x(l.P90), middle, middle)
			fmt.Fprintf(&body, "<circle class=\"dot%s\" cx=\"%.1f\" cy=\"%d\" r=\"4.5\"/>", ours, x(l.P50), middle)
			fmt.Fprintf(&body, "<text class=\"small\" x=\"%.1f\" y=\"%d\">%.1f</text>\n", x(l.P90)+8, middle+4, l.P50)
		}
		y = bottom + 22
	}
	fmt.Fprintf(&body, "<text class=\"small\" x=\"8\" y=\"%d\">Linux %s, %s, %v apart; make bench</text>\n", y+8, html.EscapeString(f.Kernel), html.EscapeString(f.Processor), space)
	y += 18

	var all bytes.Buffer
	fmt.Fprintf(&all, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %[1]d %[2]d\">\n%s", left+width+right, y, plotStyle)
	all.Write(body.Bytes())
	all.WriteString("</svg>\n")
	return all.Bytes()
}
