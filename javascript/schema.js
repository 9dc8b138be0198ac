// What a plan may hold, as the server says: kinds, bounds, choices, defaults and words.

class MixdiffSchema {
    constructor(found) {
        this.records = found.$defs;
        this.colors = found["x-colors"];
        this.cellPx = MixdiffSchema.plain(this.records.Plan.properties.canvas).items.multipleOf;
    }

    static plain(described) {
        return described.anyOf ? MixdiffSchema.plain({...described.anyOf[0], default: described.default, description: described.description}) : described;
    }

    static async get() {
        MixdiffSchema.asked ??= fetch("mixdiff/v1/schema").then((answer) => {
            if (!answer.ok) throw new Error(`the schema of plans: status ${answer.status}`);
            return answer.json();
        });
        try {
            return new MixdiffSchema(await MixdiffSchema.asked);
        } catch (error) {
            delete MixdiffSchema.asked;
            throw error;
        }
    }

    field(record, key) {
        return MixdiffSchema.plain(this.records[record].properties[key]);
    }

    color(index) {
        return this.colors[index % this.colors.length];
    }
}
