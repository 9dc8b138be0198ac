// Zoom and pan: which part of the canvas is seen.

class MixdiffView {
    static MOST = 16;

    constructor(frame, stage, changed) {
        Object.assign(this, {frame, stage, changed, zoom: 1, x: 0, y: 0});
        frame.addEventListener("wheel", (event) => {
            if (!event.ctrlKey && !event.metaKey) return;
            event.preventDefault();
            const rect = frame.getBoundingClientRect();
            this.by(Math.exp(-event.deltaY / 300), event.clientX - rect.left, event.clientY - rect.top);
        }, {passive: false});
    }

    // About a place of the frame in px, by default its middle.
    by(factor, x = this.frame.clientWidth / 2, y = this.frame.clientHeight / 2) {
        const zoom = Math.min(MixdiffView.MOST, Math.max(1, this.zoom * factor)), ratio = zoom / this.zoom;
        this.zoom = zoom;
        this.to(x - (x - this.x) * ratio, y - (y - this.y) * ratio);
    }

    reset() {
        this.zoom = 1;
        this.to(0, 0);
    }

    pan(x, y) {
        this.to(this.x + x, this.y + y);
    }

    to(x, y) {
        const inside = (value, length) => Math.min(0, Math.max(length * (1 - this.zoom), value));
        this.x = inside(x, this.frame.clientWidth);
        this.y = inside(y, this.frame.clientHeight);
        this.stage.style.transform = this.zoom === 1 ? "" : `translate(${this.x}px, ${this.y}px) scale(${this.zoom})`;
        this.stage.style.setProperty("--zoom", this.zoom);
        this.changed();
    }
}
