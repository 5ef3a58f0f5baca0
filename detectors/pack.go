package detectors

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
)

// The large arrays of a state are kept in snapshots as base64 of their bits: half the size of their digits, and NaN,
// which JSON has no word for, is in its place.

type (
	days     [dayCount * daySlots]float32
	usual    [daySlots]float32
	peakRing [peakCount]float32
)

func packed(v []float32) ([]byte, error) {
	b := make([]byte, 4*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(x))
	}
	return json.Marshal(base64.StdEncoding.EncodeToString(b)) //nolint:wrapcheck // a string: it cannot fail
}

func unpacked(b []byte, v []float32) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("packed numbers: %w", err)
	}
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return fmt.Errorf("packed numbers: %w", err)
	}
	if len(raw) != 4*len(v) {
		return fmt.Errorf("packed numbers: %d bytes, want %d", len(raw), 4*len(v))
	}
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return nil
}

func (d days) MarshalJSON() ([]byte, error)      { return packed(d[:]) }
func (d *days) UnmarshalJSON(b []byte) error     { return unpacked(b, d[:]) }
func (u usual) MarshalJSON() ([]byte, error)     { return packed(u[:]) }
func (u *usual) UnmarshalJSON(b []byte) error    { return unpacked(b, u[:]) }
func (p peakRing) MarshalJSON() ([]byte, error)  { return packed(p[:]) }
func (p *peakRing) UnmarshalJSON(b []byte) error { return unpacked(b, p[:]) }
