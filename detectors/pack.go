package detectors

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// The large arrays of a state are kept in snapshots as base64 of their bits: half the size of their digits, and NaN,
// which JSON has no word for, is in its place.

type (
	days     []float32
	peakRing [peakCount]float32
	peakGaps [peakCount]uint16
)

func packed[T float32 | uint16](v []T) ([]byte, error) {
	b, err := binary.Append(nil, binary.LittleEndian, v)
	if err != nil {
		return nil, fmt.Errorf("pack numbers: %w", err)
	}
	return json.Marshal(base64.StdEncoding.EncodeToString(b)) //nolint:wrapcheck // a string: it cannot fail
}

func unpacked(b []byte) ([]byte, error) {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("packed numbers: %w", err)
	}
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("packed numbers: %w", err)
	}
	return raw, nil
}

func unpack[T float32 | uint16](b []byte, v []T) error {
	raw, err := unpacked(b)
	if err != nil {
		return err
	}
	if want := binary.Size(v); len(raw) != want {
		return fmt.Errorf("packed numbers: %d bytes, want %d", len(raw), want)
	}
	if _, err := binary.Decode(raw, binary.LittleEndian, v); err != nil {
		return fmt.Errorf("packed numbers: %w", err)
	}
	return nil
}

// UnmarshalJSON takes as many days as there are; usable says whether they are as many as they should.
func (d *days) UnmarshalJSON(b []byte) error {
	raw, err := unpacked(b)
	if err != nil {
		return err
	}
	*d = make(days, len(raw)/4)
	return unpack(b, *d)
}

func (d days) MarshalJSON() ([]byte, error)      { return packed(d) }
func (u usual) MarshalJSON() ([]byte, error)     { return packed(u[:]) }
func (u *usual) UnmarshalJSON(b []byte) error    { return unpack(b, u[:]) }
func (p peakRing) MarshalJSON() ([]byte, error)  { return packed(p[:]) }
func (p *peakRing) UnmarshalJSON(b []byte) error { return unpack(b, p[:]) }
func (p peakGaps) MarshalJSON() ([]byte, error)  { return packed(p[:]) }
func (p *peakGaps) UnmarshalJSON(b []byte) error { return unpack(b, p[:]) }
