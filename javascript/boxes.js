// Boxes are fractions [left, top, right, bottom] of the canvas; they snap to the cells of the latent grid.

class MixdiffGrid {
    static DECIMALS = 12;

    constructor([width, height], cellPx) {
        this.size = [width, height];
        this.cell = this.size.map((side) => 1 / Math.max(1, Math.floor(side / cellPx)));      // what is left of a side is not drawn
    }

    static fraction(value) {
        return Number(Math.min(1, Math.max(0, value)).toFixed(MixdiffGrid.DECIMALS));
    }

    snapped(box) {
        return box.map((value, i) => MixdiffGrid.fraction(Math.round(value / this.cell[i % 2]) * this.cell[i % 2]));
    }

    moved([left, top, right, bottom], x, y) {
        x = Math.min(1 - right, Math.max(-left, x));
        y = Math.min(1 - bottom, Math.max(-top, y));
        return this.snapped([left + x, top + y, right + x, bottom + y]);
    }

    // Only the sides named in `sides` (of "nesw") move; at least one cell is left.
    resized([left, top, right, bottom], sides, x, y) {
        const [w, h] = this.cell;
        return this.snapped([
            sides.includes("w") ? Math.min(left + x, right - w) : left, sides.includes("n") ? Math.min(top + y, bottom - h) : top,
            sides.includes("e") ? Math.max(right + x, left + w) : right, sides.includes("s") ? Math.max(bottom + y, top + h) : bottom]);
    }

    // Between two corners; null where that is nothing.
    between([x0, y0], [x1, y1]) {
        const box = this.snapped([Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)]);
        return box[2] > box[0] && box[3] > box[1] ? box : null;
    }

    // The smallest that holds both.
    union(a, b) {
        const [left, top, right, bottom] = a.map((value, i) => (i < 2 ? Math.min : Math.max)(value, b[i])), [w, h] = this.cell;
        const out = (value, cell, round) => MixdiffGrid.fraction(round(Number((value / cell).toFixed(6))) * cell);
        return [out(left, w, Math.floor), out(top, h, Math.floor), out(right, w, Math.ceil), out(bottom, h, Math.ceil)];
    }

    // For a picture of this aspect (width / height): its longer side half of the canvas, its middle at a place.
    around([x, y], aspect) {
        const [width, height] = this.size, across = Math.min(width, height * aspect) / 2;
        const w = across / width, h = across / aspect / height;
        const left = Math.min(1 - w, Math.max(0, x - w / 2)), top = Math.min(1 - h, Math.max(0, y - h / 2));
        return this.resized([left, top, left + w, top + h], "es", 0, 0);
    }

    // Neighbours overlap by a quarter of their size, so that they melt.
    split(columns, rows) {
        const sides = (n, i) => [Math.max(0, (i - 0.125) / n), Math.min(1, (i + 1.125) / n)], boxes = [];
        for (let y = 0; y < rows; y++) {
            for (let x = 0; x < columns; x++) {
                const [left, right] = sides(columns, x), [top, bottom] = sides(rows, y);
                boxes.push(this.snapped([left, top, right, bottom]));
            }
        }
        return boxes;
    }
}
