package metrics

import (
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// compressors are of the fastest level: scrapes repeat themselves so much that a better one would
// take several times as long for a few per cent.
var compressors = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // of a constant level
	}
	return z
}}

// compressed has send write into a compressor, whose output goes to w. After an error it leaves the
// stream without its end, by which a reader notices.
func compressed(w io.Writer, send func(body io.Writer) error) error {
	z := compressors.Get().(*gzip.Writer)
	defer compressors.Put(z)
	z.Reset(w)
	if err := send(z); err != nil {
		return err
	}
	return z.Close()
}

// acceptsGzip reports whether a client takes gzip, and likes it no less than text as it is
// (RFC 9110, 12.5.3). The header may have several lines. A weight of 0 refuses a coding, * stands
// for those that are not named, and what can't be understood is no wish.
func acceptsGzip(h http.Header) bool {
	zip, plain, rest := -1.0, -1.0, -1.0
	for coding := range strings.SplitSeq(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		name, parameters, _ := strings.Cut(coding, ";")
		weight, ok := weightOf(parameters)
		if !ok {
			continue
		}
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "gzip", "x-gzip":
			zip = weight
		case "identity":
			plain = weight
		case "*":
			rest = weight
		}
	}
	if zip < 0 {
		zip = rest
	}
	return zip > 0 && zip >= plain
}

// weightOf returns the weight q of a coding, 1 if it has none.
func weightOf(parameters string) (weight float64, ok bool) {
	parameters = strings.TrimSpace(parameters)
	if parameters == "" {
		return 1, true
	}
	name, value, _ := strings.Cut(parameters, "=")
	weight, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	ok = err == nil && strings.EqualFold(strings.TrimSpace(name), "q") && weight >= 0 && weight <= 1
	return weight, ok
}
