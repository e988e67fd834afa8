package page

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// axis maps figures to places between 0 and 100, in percent of a chart's width or height.
type axis struct {
	low, high float64
	log       bool
}

// spreadForLog is the ratio of the largest to the least figure from which an axis is logarithmic:
// on a linear one the small ones would lie on each other.
const spreadForLog = 12

// newAxis makes an axis for figures, with 0 if it is linear. Figures of 0 and less lie at its low
// end.
func newAxis(figures []float64) axis {
	least, most := math.Inf(1), 0.0
	for _, x := range figures {
		if x > 0 {
			least = min(least, x)
		}
		most = max(most, x)
	}
	if most <= 0 {
		return axis{high: 1}
	}
	if most/least < spreadForLog {
		return axis{high: niceAbove(most)}
	}
	return logAxis(least, most)
}

// logAxis makes a logarithmic axis, which reaches a little farther than the figures.
func logAxis(least, most float64) axis {
	return axis{low: least / 1.15, high: most * 1.15, log: true}
}

// at returns the place of a figure.
func (a axis) at(x float64) float64 {
	x = min(max(x, a.low), a.high)
	if a.log {
		return 100 * math.Log(x/a.low) / math.Log(a.high/a.low)
	}
	return 100 * (x - a.low) / (a.high - a.low)
}

// step returns the distance of about n ticks from 0 to high: 1, 2 or 5 times a power of ten.
func step(high float64, n int) float64 {
	raw := high / float64(n)
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, factor := range []float64{1, 2, 5} {
		if factor*power >= raw*0.999 {
			return factor * power
		}
	}
	return 10 * power
}

// niceAbove returns the tick at or above a figure.
func niceAbove(x float64) float64 {
	s := step(x, 5)
	return s * math.Ceil(x/s-1e-9)
}

// ticks returns the figures that the axis names, at most eight.
func (a axis) ticks() (list []float64) {
	if !a.log {
		s := step(a.high, 5)
		for i := 0; float64(i)*s <= a.high*1.0001; i++ {
			list = append(list, float64(i)*s)
		}
		return list
	}
	decades := math.Log10(a.high / a.low)
	factors := []float64{1}
	switch {
	case decades < 1.6:
		factors = []float64{1, 2, 5}
	case decades < 3:
		factors = []float64{1, 3}
	}
	every := int(math.Ceil(decades / 8))
	for e := int(math.Floor(math.Log10(a.low))); e <= int(math.Ceil(math.Log10(a.high))); e++ {
		for _, f := range factors {
			x := f * math.Pow(10, float64(e))
			if x >= a.low && x <= a.high && (e%every == 0 || len(factors) > 1) {
				list = append(list, x)
			}
		}
	}
	return list
}

// percent writes a place for an attribute of SVG.
func percent(x float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", x), "0"), ".") + "%"
}

// figure writes about three digits.
func figure(x float64) string {
	switch {
	case x == 0:
		return "0"
	case x < 10:
		return fmt.Sprintf("%.2f", x)
	case x < 100:
		return fmt.Sprintf("%.1f", x)
	case x < 1e6:
		return fmt.Sprintf("%.0f", x)
	}
	return short(x)
}

// short writes a figure of a tick: at most three digits, and no zeroes behind its point.
func short(x float64) string {
	switch {
	case x <= 0:
		return "0"
	case x >= 1e6:
		return short(x/1e6) + "M"
	case x >= 1e4:
		return short(x/1e3) + "k"
	}
	text := strconv.FormatFloat(x, 'f', max(0, 2-int(math.Floor(math.Log10(x)))), 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// nanoseconds writes a time.
func nanoseconds(ns float64) string { return scaled(ns, 1000, "ns", "us", "ms", "s") }

// sizeText writes an amount of memory.
func sizeText(n float64) string { return scaled(n, 1024, "B", "KiB", "MiB", "GiB", "TiB") }

// scaled writes a figure with the largest unit in which it is at least 1.
func scaled(x, factor float64, units ...string) string {
	i := 0
	for i < len(units)-1 && x >= factor {
		x /= factor
		i++
	}
	if x < 1000 {
		return short(x) + " " + units[i]
	}
	return fmt.Sprintf("%.0f %s", x, units[i])
}
